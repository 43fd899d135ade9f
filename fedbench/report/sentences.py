"""The four sentences: what was gained, what it cost, what leaked, what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedbench.report.controls import Check, noticed
from fedbench.report.numbers import Number
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
_UNRECORDED = "no such comparison was recorded"


@dataclass(frozen=True)
class Sentence:
    """One answer in words."""

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
        "leak": f"{_membership(world, label, played)} {_attributes(world, label, played)}",
        "sent": _sent(world, label),
    }
    return [Sentence(topic, TITLES[topic], text) for topic, text in texts.items()]


# --- Gain and tax -----------------------------------------------------------------------------


def verdict(found: Number | None) -> str:
    """Return ``better``, ``worse``, ``no difference shown`` or ``nothing can be said``."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return "nothing can be said"
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
    against = [AGAINST[target], *[""] * len(found)]
    return " ".join(_difference(*pair, said) for pair, said in zip(found, against, strict=False))


def _difference(name: str, found: Number | None, against: str) -> str:
    what = measure(name)
    if found is None or found.value is None:
        return _nothing(
            f"the {what}", (found.reasons if found is not None else ()) or [_UNRECORDED]
        )
    moved = change(turned(found) or found)
    if found.low is None or found.high is None:
        return f"The {what} was {moved}{against}; how sure that is, is not known."
    scope = f"{'mean over hospitals, ' if found['target'] == 'gain' else ''}{seeds(found)}"
    if verdict(found) != "no difference shown":
        return f"The {what} was {moved}{against} ({scope})."
    return (
        f"No difference could be shown in {what}: it was {moved}{against} ({scope}); a difference "
        f"of {number(detectable_change(found))} or more would probably have been seen."
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
    if broken := _broken(f"{attack}.auc", "", played):
        return _nothing(noun, broken)
    area = f"AUC {interval(found)}, where 0.5 is guessing, {seeds(found)}"
    tail = _untested(f"{attack}.auc", "", played)
    if noticed(found):
        share = _leak(world, label, attack)
        return f"Training patients could be recognized by the attack {attack}: {area}.{share}{tail}"
    return (
        f"Training patients could not be recognized by the attack {attack}: {area}."
        f"{_would(found)}{_mixed(found)}{_leak(world, label, attack)}{tail}"
    )


def _leak(world: World, label: str, attack: str) -> str:
    found = world.pooled(label, world.main, f"{attack}.leak@1%")
    if found is None:
        return ""
    if not found.done:
        because = joined(found.reasons) or "no reason was recorded"
        return f" How many at 1 % false alarms: nothing can be said, because {because}."
    hint = f" (a share of {percent(found.detectable)} would have been noticed)"
    text = f" At 1 % false alarms it gave away {interval(found)} of them"
    return f"{text}{hint if found.detectable is not None and not _above(found) else ''}."


def _above(found: Number) -> bool:
    return found.low is not None and found.low > 0


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
    found = {secret: _attribute(world, label, secret) for secret in secrets}
    silent = [_attribute_refused(s, n, played) for s, n in found.items()]
    heard = [n for (s, n), why in zip(found.items(), silent, strict=True) if n and not why]
    texts = [_advantage(n) for n in heard if noticed(n)]
    quiet = [n for n in heard if not noticed(n)]
    return " ".join([*texts, *([_quiet(quiet)] if quiet else []), *(why for why in silent if why)])


def _attribute(world: World, label: str, secret: str) -> Number | None:
    found = world.own.where(
        name="attribute.advantage", label=label, regime=world.main, secret=secret, site="", level=""
    )
    return found.best("target", ("pooled", "", "specialist", "generalist"))


def _attribute_refused(secret: str, found: Number | None, played: Sequence[Check]) -> str:
    noun = f"whether {secret} can be inferred"
    if found is None or not found.done:
        reasons = found.reasons if found is not None else ()
        return _nothing(noun, reasons or ["the attack was not run on this release"])
    broken = _broken("attribute.advantage", secret, played)
    return _nothing(noun, broken) if broken else ""


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
    would = f" One of {number(most)} or more would have been noticed." if most is not None else ""
    return (
        f"Guesses of {names} were not shown to be better for training patients than for others:"
        f"{of} advantage is {interval(largest)}.{would}"
    )


def _broken(name: str, secret: str, played: Sequence[Check]) -> list[str]:
    """Why a failed control makes this attack worthless here."""
    failed = [
        c.control for c in played if (c.name, c.secret, c.outcome) == (name, secret, "failed")
    ]
    said = {
        "copy": "the attack did not even catch a copy of the training records",
        "real": "the attack also went off on records that no generator saw",
    }
    return [said[control] for control in failed if control in said]


def _untested(name: str, secret: str, played: Sequence[Check]) -> str:
    passed = any(
        (c.control, c.name, c.secret, c.outcome) == ("copy", name, secret, "passed") for c in played
    )
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
    found = world.own.where(label=label, regime=regime, name="communication.bytes")
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
    when = f"In {rounds.value:.0f} rounds, e" if rounds and rounds.value else "E"
    records = traffic(world, label, "centralized").up if world.main == "federated" else None
    price = f" The training records themselves are {human_bytes(records)}." if records else ""
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
