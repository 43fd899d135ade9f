"""The four sentences: what was gained, what it cost, what leaked, what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedbench.report.controls import Check, backwards, broken, noticed
from fedbench.report.numbers import Number, Numbers
from fedbench.report.words import (
    change,
    detectable_change,
    human_bytes,
    interval,
    joined,
    measure,
    number,
    percent,
    seeds,
)
from fedbench.report.world import World

__all__ = ["Sentence", "Traffic", "headline", "traffic", "turned", "verdict"]

Topic = Literal["gain", "tax", "leak", "sent"]
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
_ROUNDING = 1e-9  # two ways to add up the same sums differ by less
_UNRECORDED = "no such comparison was recorded"


@dataclass(frozen=True)
class Sentence:
    """One answer in words; a line break parts its paragraphs."""

    topic: Topic
    title: str
    text: str

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


def headline(world: World, label: str, played: Sequence[Check]) -> list[Sentence]:
    """Return the four answers for one generator."""
    texts: dict[Topic, str] = {
        "gain": _gain(world, label),
        "tax": _tax(world, label),
        "leak": f"{_membership(world, label, played)}\n{_attributes(world, label, played)}",
        "sent": _sent(world, label),
    }
    return [Sentence(topic, TITLES[topic], text) for topic, text in texts.items()]


# --- Gain and tax -----------------------------------------------------------------------------


def verdict(found: Number | None) -> str:
    """Say a gain in a few words; ``the same`` means to all digits."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return "nothing can be said"
    if max(abs(found.value), abs(found.low), abs(found.high)) < _ROUNDING:
        return "the same"
    if found.low > 0:
        return "better"
    return "worse" if found.high < 0 else "no difference shown"


def _gain(world: World, label: str) -> str:
    if missing := [r for r in ("federated", "local") if r not in world.regimes]:
        return _nothing("a gain", [f"the run has no {joined(missing)} regime"])
    return _differences(world, label, "gain")


def _tax(world: World, label: str) -> str:
    if missing := [r for r in ("federated", "centralized") if r not in world.regimes]:
        return _nothing("this cost", [f"the run has no {joined(missing)} regime"])
    return _differences(world, label, "tax")


def _differences(world: World, label: str, target: Target) -> str:
    group = "over local" if target == "gain" else ""
    asked = [world.utility, (world.fidelity, "")]
    found = [
        (name, world.difference(label, target, name, task, group)) for name, task in asked if name
    ]
    if not any(n is not None and n.done for _, n in found):
        reasons = sorted({r for _, n in found if n is not None for r in n.reasons})
        noun = "a gain" if target == "gain" else "this cost"
        return _nothing(noun, reasons or [_UNRECORDED])
    first, *others = found
    texts = [_difference(*first, "training together", AGAINST[target])]
    return " ".join(texts + [_difference(*other, "it") for other in others])


def _difference(name: str, found: Number | None, who: str, against: str = "") -> str:
    what = measure(name)
    if found is None or found.value is None:
        reasons = found.reasons if found is not None else ()
        return _nothing(f"{what} in this comparison", reasons or [_UNRECORDED])
    if verdict(found) == "the same":
        return f"In {what} {who} made no difference at all{against and f', compared{against[5:]}'}."
    moved = change(turned(found) or found)
    if found.low is None or found.high is None:
        return f"In {what} {who} was {moved}{against}; how sure that is, is not known."
    scope = f"{'mean over hospitals, ' if found['target'] == 'gain' else ''}{seeds(found)}"
    if verdict(found) != "no difference shown":
        return f"In {what} {who} was {moved}{against} ({scope})."
    return (
        f"No difference could be shown in {what}: {who} was {moved}{against} ({scope}); a "
        f"difference of {number(detectable_change(found))} or more would probably have been seen."
    )


def turned(found: Number | None) -> Number | None:
    """Return a tax, which counts what is lost, as what it means for federation: sign turned."""
    if found is None or found["target"] != "tax" or found.value is None:
        return found
    low = None if found.high is None else -found.high
    high = None if found.low is None else -found.low
    return Number(**{**vars(found), "value": -found.value, "low": low, "high": high})


# --- Leaks ------------------------------------------------------------------------------------


def _membership(world: World, label: str, played: Sequence[Check]) -> str:
    found = [(attack, world.pooled(label, world.main, f"{attack}.auc")) for attack in world.attacks]
    if not found:
        return _nothing("whether training patients can be recognized", ["no such attack was run"])
    return " ".join(_member(world, label, attack, n, played) for attack, n in found)


def _member(
    world: World, label: str, attack: str, found: Number | None, played: Sequence[Check]
) -> str:
    noun = f"whether training patients can be recognized (attack {attack})"
    if found is None or not found.done:
        reasons = found.reasons if found is not None else ()
        return _nothing(noun, reasons or ["the attack was not run on this release"])
    if because := broken(f"{attack}.auc", "", played):
        return _nothing(noun, because)
    area = f"AUC {interval(found)}, where 0.5 is guessing, {seeds(found)}"
    tail = f"{_leak(world, label, attack)}{_untested(f'{attack}.auc', played)}"
    if noticed(found):
        return f"Training patients could be recognized by the attack {attack}: {area}.{tail}"
    if backwards(found):
        return (
            f"The attack {attack} told training patients from others the wrong way round: {area}. "
            f"Who knows that can turn it round.{tail}"
        )
    return (
        f"Training patients could not be recognized by the attack {attack}: {area}."
        f"{_would(found)}{_mixed(found)}{tail}"
    )


def _leak(world: World, label: str, attack: str) -> str:
    """What is given away at few false alarms: at 1 %, and where that is refused at 10 %."""
    asked = [(at, world.pooled(label, world.main, f"{attack}.leak@{at}%")) for at in ("1", "10")]
    texts = []
    for at, found in asked:
        if found is not None and found.done:
            texts.append(f" {_share(at, found)}")
            break
        if found is not None:
            texts.append(f" {_nothing(f'attacks with {at} % false alarms', found.reasons)}")
    return "".join(texts)


def _share(at: str, found: Number) -> str:
    if found.low is not None and found.low > 0:
        return f"With {at} % false alarms it gives away {interval(found)} of them."
    seen = found.detectable
    would = f"; a share of {percent(seen)} would have been noticed" if seen is not None else ""
    return f"With {at} % false alarms no leak could be shown: {interval(found)} of them{would}."


def _would(found: Number) -> str:
    """What would have been noticed: an AUC, or a share of records, as the row has it."""
    if found.detectable is None:
        return ""
    if found["name"].endswith(".auc") and found.detectable >= 0.5:
        return f" An AUC of {number(found.detectable)} or more would have been noticed."
    if found["name"].endswith(".auc"):
        return f" A leak of {percent(found.detectable)} of the records would have been noticed."
    return f" An advantage of {number(found.detectable)} or more would have been noticed."


def _mixed(found: Number) -> str:
    if not found.noticed:
        return ""
    return (
        f" Caution: taken alone, {found.noticed} of {found.seeds} seeds did better than guessing."
    )


def _attributes(world: World, label: str, played: Sequence[Check]) -> str:
    secrets = world.numbers.where(name="attribute.advantage").values("secret")
    if not secrets:
        return _nothing("sensitive facts", ["no such attack was run"])
    found = {secret: world.inferred(label, secret) for secret in secrets}
    unheard: dict[str, list[str]] = {}
    for secret, n in found.items():
        if because := _unheard(world, label, secret, n, played):
            unheard.setdefault(because, []).append(f"“{secret}”")
    silent = {secret for names in unheard.values() for secret in names}
    heard = [n for secret, n in found.items() if n is not None and f"“{secret}”" not in silent]
    quiet = [n for n in heard if not noticed(n)]
    return " ".join(
        [
            *(_advantage(n) for n in heard if noticed(n)),
            *([_quiet(quiet)] if quiet else []),
            *(
                _nothing(f"whether {joined(names)} can be inferred", [because])
                for because, names in unheard.items()
            ),
        ]
    )


def _unheard(
    world: World, label: str, secret: str, found: Number | None, played: Sequence[Check]
) -> str:
    """Why nothing can be said about a secret; empty where something can."""
    if found is not None and found.done:
        return joined(broken("attribute.advantage", secret, played))
    refused = world.own.where(label=label, regime=world.main, secret=secret, site="").all
    reasons = sorted({reason for n in refused if not n.done for reason in n.reasons})
    return joined(reasons) or "the attack was not run on this release"


def _advantage(found: Number) -> str:
    return (
        f"The fact “{found['secret']}” could be inferred better for training patients than for "
        f"others: advantage {interval(found)}, {seeds(found)}."
    )


def _quiet(found: Sequence[Number]) -> str:
    names = joined([f"“{n['secret']}”" for n in found])
    largest = max(found, key=lambda n: n.value or 0.0)
    most = max((n.detectable for n in found if n.detectable is not None), default=None)
    of = " the largest" if len(found) > 1 else " the"
    alone = [f" “{n['secret']}”:{_mixed(n)}" for n in found if n.noticed]
    would = f" One of {number(most)} or more would have been noticed." if most is not None else ""
    return (
        f"Guesses of {names} were not shown to be better for training patients than for others:"
        f"{of} advantage is {interval(largest)}.{would}{''.join(alone)}"
    )


def _untested(name: str, played: Sequence[Check]) -> str:
    passed = any((c.control, c.name, c.outcome) == ("copy", name, "passed") for c in played)
    return "" if passed else " No copy control has shown that this attack works here."


# --- Traffic ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traffic:
    """Bytes that crossed, of the hospitals together and of the mean one."""

    up: float | None
    down: float | None
    hospitals: int

    @property
    def each(self) -> float | None:
        """Both ways, per hospital."""
        if self.up is None and self.down is None:
            return None
        return ((self.up or 0.0) + (self.down or 0.0)) / max(self.hospitals, 1)


def traffic(world: World, label: str, regime: str) -> Traffic:
    """Return what crossed between the hospitals and the server."""
    asked = world.own.where(
        label=label, regime=regime, name="communication.bytes", target=("pooled", "specialist", "")
    )
    found = Numbers(tuple(n for n in asked if n["model"] in ("", n["site"])))
    sites = [site for site in found.values("site") if site != "worst"]
    ways = [_way(found.where(level=way).all) for way in ("up", "down")]
    return Traffic(ways[0], ways[1], len(sites) or len(world.sites) or 1)


def _way(found: Sequence[Number]) -> float | None:
    totals = [n.value for n in found if n["site"] == "" and n.value is not None]
    parts = [n.value for n in found if n["site"] not in ("", "worst") and n.value is not None]
    return totals[0] if totals else (sum(parts) if parts else None)


def _sent(world: World, label: str) -> str:
    found = traffic(world, label, world.main)
    if found.each is None:
        return _nothing("how much was sent", _why_no_bytes(world, label))
    up, down = ((way or 0.0) / found.hospitals for way in (found.up, found.down))
    rounds = world.pooled(label, world.main, "communication.rounds")
    when = f"In {rounds.value:.0f} exchanges, e" if rounds and rounds.value else "E"
    records = traffic(world, label, "centralized").up if world.main == "federated" else None
    price = (
        f" For comparison, the training records themselves are {human_bytes(records)}."
        if records
        else ""
    )
    total = human_bytes((found.up or 0.0) + (found.down or 0.0))
    return (
        f"{when}ach of {found.hospitals} hospitals sent {human_bytes(up)} and received "
        f"{human_bytes(down)} on average ({total} in all).{price}"
    )


def _why_no_bytes(world: World, label: str) -> list[str]:
    found = world.own.where(label=label, regime=world.main, name="communication.bytes")
    return sorted({r for n in found for r in n.reasons}) or ["it was not recorded"]


def _nothing(noun: str, reasons: Sequence[str]) -> str:
    because = joined([reason.strip().rstrip(".") for reason in reasons])
    return f"Nothing can be said about {noun}, because {because}."
