"""The four sentences: what was gained, what it cost, what leaked, what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedbench.nouns import plural
from fedbench.report.controls import Check
from fedbench.report.leaks import leaked
from fedbench.report.numbers import Number
from fedbench.report.traffic import sent
from fedbench.report.words import (
    change,
    detectable_change,
    interval,
    joined,
    left_out,
    measure,
    nothing,
    number,
    seeds,
    shown,
    signed,
)
from fedbench.report.world import FLOOR, World

__all__ = ["ONE_HOSPITAL", "Sentence", "about", "headline", "turned", "verdict"]

Topic = Literal["gain", "tax", "leak", "sent", "fidelity", "utility"]
Target = Literal["gain", "tax"]

TITLES: dict[Topic, str] = {
    "gain": "What training together gained",
    "tax": "What it cost not to pool the records",
    "leak": "What leaked",
    "sent": "What was sent",
}
AGAINST: dict[Target, str] = {
    "gain": " than with generators that each hospital trained alone",
    "tax": " than with a generator trained on all records in one place",
}
ONE_HOSPITAL = "there is one hospital, which has nobody to train with"
WEIGHTS = {
    "patient-weighted": "weighted by their numbers of patients",
    "unweighted": "each hospital counting the same",
}
_ROUNDING = 1e-9  # two ways to add up the same sums differ by less
_UNRECORDED = "no such comparison was recorded"


@dataclass(frozen=True)
class Sentence:
    """One answer in plain words, and what it stands on; a line break parts paragraphs.

    ``marked`` are the places of paragraphs that no reader should miss.
    """

    topic: Topic
    title: str
    text: str
    details: tuple[str, ...] = ()
    marked: tuple[int, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {**asdict(self), "details": list(self.details), "marked": list(self.marked)}


def headline(
    world: World, label: str, played: Sequence[Check], audited: Mapping[str, Any] | None = None
) -> list[Sentence]:
    """Return the four answers for one generator.

    Args:
        world: the numbers.
        label: which generator.
        played: what the attacks' controls said.
        audited: what audits with canaries found, of every generator; their verdicts come first.
    """
    leak, details = leaked(world, label, played)
    if audited is not None:
        leak = "\n".join([*audited["verdicts"], leak])
        details = [_rehearsed(audited["controls"]), *details]
    return [
        Sentence("gain", TITLES["gain"], _gain(world, label)),
        Sentence("tax", TITLES["tax"], _tax(world, label)),
        Sentence("leak", TITLES["leak"], leak, tuple(details)),
        Sentence("sent", TITLES["sent"], sent(world, label)),
    ]


def _rehearsed(controls: Sequence[Mapping[str, str]]) -> str:
    """Say how the controls of audits with canaries went."""
    failed = [check["text"] for check in controls if check["outcome"] != "passed"]
    said = "; ".join(signed(text).rstrip(".") for text in failed)
    which = f", {len(failed)} failed: {said}" if failed else ", all were passed"
    return f"Controls first: audits with canaries have {plural(len(controls), 'control')}{which}."


def about(world: World) -> list[str]:
    """Say which generator the answers are about and why, and whether utility says anything."""
    by = measure(world.score[0])
    task = world.say(world.score[1])
    by += f" ({task})" if task else ""
    why = {
        "best": f", the generator that scores best here by {by}; the others follow below",
        "below the floor": f"; no generator scored better than the floor ({FLOOR}) by {by}",
        "guessing": f"; no generator was shown to be better than guessing by {by}",
        "alone": "",
    }[world.standing]
    return [f"About {world.lead or 'no generator'}{why}.", *_unforeseen(world)]


def _unforeseen(world: World) -> list[str]:
    real = world.unforeseen
    if real is None:
        return []
    name, task = world.utility
    instead = world.score[0]
    return [
        f"{measure(name)} says nothing about synthetic records here. Even a model that learnt from "
        f"the real training records was not shown to foresee {world.say(task) or 'the outcome'} "
        f"better than guessing: {measure(name)} {interval(real)}, where 0.5 is guessing."
        + (f" So the answers begin with {measure(instead)}." if instead != name else "")
    ]


# --- Gain and tax -----------------------------------------------------------------------------


def verdict(found: Number | None) -> str:
    """Say a gain in a few words; ``the same`` means to all digits.

    The interval of one seed holds which patients were tested, not how training and sampling
    happened to fall, so one seed is never better or worse.
    """
    if found is None or found.value is None or found.low is None or found.high is None:
        return "nothing can be said"
    if max(abs(found.value), abs(found.low), abs(found.high)) < _ROUNDING:
        return "the same"
    if found.low <= 0 <= found.high:
        return "no difference shown"
    if found.seeds < 2:
        return "one seed only"
    if found.low > 0:
        return "better"
    return "worse"


def _gain(world: World, label: str) -> str:
    if missing := [r for r in ("federated", "local") if r not in world.regimes]:
        return nothing("a gain", [f"the run has no {joined(missing)} regime"])
    if world.single:
        return f"Not applicable: {ONE_HOSPITAL}."
    return _differences(world, label, "gain")


def _tax(world: World, label: str) -> str:
    if missing := [r for r in ("federated", "centralized") if r not in world.regimes]:
        return nothing("this cost", [f"the run has no {joined(missing)} regime"])
    return _differences(world, label, "tax")


def _differences(world: World, label: str, target: Target) -> str:
    group = "over local" if target == "gain" else ""
    asked = dict.fromkeys([world.score, world.utility, (world.fidelity, "")])
    found = [
        (name, world.difference(label, target, name, task, group)) for name, task in asked if name
    ]
    if not any(n is not None and n.done for _, n in found):
        reasons = sorted({r for _, n in found if n is not None for r in n.reasons})
        noun = "a gain" if target == "gain" else "this cost"
        return nothing(noun, reasons or [_UNRECORDED])
    first, *others = found
    texts = [_difference(*first, "training together", AGAINST[target])]
    return "\n".join(texts + [_difference(*other, "it") for other in others])


def _difference(name: str, found: Number | None, who: str, against: str = "") -> str:
    what = measure(name)
    if found is None or found.value is None:
        reasons = found.reasons if found is not None else ()
        return nothing(f"{what} in this comparison", reasons or [_UNRECORDED])
    if verdict(found) == "the same":
        some = f" ({seeds(found)})" if found.seeds != found.asked else ""
        versus = against and f", compared{against[5:]}"
        return f"In {what} {who} made no difference at all{versus}{some}."
    moved = change(turned(found) or found)
    if found.low is None or found.high is None:
        return f"In {what} {who} was {moved}{against}; how sure that is, is not known."
    scope = "; ".join(part for part in (_whose(found), seeds(found), left_out(found)) if part)
    if verdict(found) == "one seed only":
        return (
            f"In {what} {who} was {moved}{against} ({scope}); one training cannot say whether "
            "that is more than the luck of training and sampling."
        )
    if verdict(found) != "no difference shown":
        return f"In {what} {who} was {moved}{against} ({scope})."
    return (
        f"No difference could be shown in {what}: {who} was {_between(found)}{against} ({scope}). "
        f"{_visible(found)}"
    )


def _between(found: Number) -> str:
    """Say a difference that may as well be none, with both ends in words."""
    best = turned(found) or found
    value, low, high = (text.lstrip("\N{MINUS SIGN}") for text in shown(best))
    way = "better" if (best.value or 0.0) >= 0 else "worse"
    return f"{way} by {value} (95 % interval: from {low} worse to {high} better)"


def _visible(found: Number) -> str:
    """Say how large a difference would have been seen, where one so large can be."""
    least = detectable_change(found)
    if least is not None and found.most is not None and least >= found.most:
        return "With so few cases hardly any difference could have been seen."
    return f"A difference of {number(least)} or more would probably have been seen."


def _whose(found: Number) -> str:
    """Say whose patients a comparison is made on: the table beside it holds other ones too."""
    if found["target"] != "gain":
        return "on all hospitals' patients together"
    weights = WEIGHTS.get(found["level"], "")
    return f"mean over hospitals, each on its own patients{weights and f', {weights}'}"


def turned(found: Number | None) -> Number | None:
    """Return a tax, which counts what is lost, as what it means for federation: sign turned."""
    if found is None or found["target"] != "tax" or found.value is None:
        return found
    low = None if found.high is None else -found.high
    high = None if found.low is None else -found.low
    return Number(**{**vars(found), "value": -found.value, "low": low, "high": high})
