"""Do the attacks work, and do they keep quiet? Asked before anything is said about leaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedbench.report.numbers import Number
from fedbench.report.words import POWER, interval, plural, seeds, told
from fedbench.report.world import World

__all__ = ["Check", "attack_names", "backwards", "broken", "checks", "noticeable", "noticed"]

SILENCE = 0.001
"""The level at which all null controls of a world together may go off."""

Outcome = Literal["passed", "failed", "refused", "not played"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One control of one attack."""

    control: Literal["copy", "real", "blind"]
    name: str
    secret: str
    outcome: Outcome
    text: str

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


def attack_names(world: World) -> list[tuple[str, str]]:
    """Return every attack's main measure, with the secret it is after, if any."""
    secrets = world.numbers.where(name="attribute.advantage").values("secret")
    return [
        *((f"{attack}.auc", "") for attack in world.attacks),
        *(("attribute.advantage", secret) for secret in secrets),
    ]


def chance(name: str) -> float:
    """Return what an attack reaches by guessing."""
    return 0.5 if name.endswith(".auc") else 0.0


def noticed(found: Number) -> bool:
    """Whether an attack did better than guessing: its interval lies above chance."""
    return found.low is not None and found.low > chance(found["name"])


def noticeable(found: Number) -> float | None:
    """Return what would have been noticed four times out of five, by the rule of `noticed`.

    A row tells what its own test would have found; the interval over seeds is wider, and says
    more strictly what an attack must reach to leave chance behind. The larger one counts.
    """
    known = [] if found.detectable is None else [found.detectable]
    if found.value is not None and found.low is not None:
        known.append(chance(found["name"]) + POWER * (found.value - found.low))
    return min(max(known), 1.0) if known else None


def backwards(found: Number) -> bool:
    """Whether an attack told members from others the wrong way round."""
    return found.high is not None and found.high < chance(found["name"])


def checks(world: World) -> list[Check]:
    """Play every control of every attack in words."""
    names = attack_names(world)
    level = SILENCE / max(len(names), 1)
    found = [check for name in names for check in (_copy(world, *name), _null(world, *name, level))]
    return found + [check for attack in world.attacks if (check := _blind(world, attack))]


def _control(world: World, generator: str, name: str, secret: str) -> Number | None:
    found = world.numbers.where(
        regime="control", label=generator, name=name, secret=secret, site="", level="", column=""
    )
    return found.best("target", ("pooled", "", "specialist", "generalist"))


def _copy(world: World, name: str, secret: str) -> Check:
    found = _control(world, "copy", name, secret)
    if found is None or not found.done:
        return _unheard("copy", name, secret, found)
    passed = noticed(found) or 2 * (found.noticed or 0) > found.seeds
    said = "was caught" if passed else "was NOT caught: this attack finds nothing here"
    if passed and not noticed(found):
        said += f" in {found.noticed} of {plural(found.seeds, 'seed')}, each taken alone"
    return Check(
        control="copy",
        name=name,
        secret=secret,
        outcome="passed" if passed else "failed",
        text=f"The copy of the training records {said}: {_shown(found)}.",
    )


def _null(world: World, name: str, secret: str, level: float) -> Check:
    found = _control(world, "real", name, secret)
    if found is None or not found.done:
        return _unheard("real", name, secret, found)
    outcome, said = _silence(found, level)
    return Check(
        control="real",
        name=name,
        secret=secret,
        outcome=outcome,
        text=f"The null control (records that no generator saw) {said}: {_shown(found)}.",
    )


def _silence(found: Number, level: float) -> tuple[Outcome, str]:
    """Went off, spoke the wrong way round, or was silent."""
    if noticed(found) if found.p_min is None else found.p_min < level:
        return "failed", "went off, though it should not: this attack accuses without cause"
    if backwards(found):
        # Its records are then too close to the non-members: it could not have gone off.
        return "refused", "says nothing, as it scored training patients lower than others"
    return "passed", "was silent"


def _blind(world: World, attack: str) -> Check | None:
    found = world.own.where(name=f"{attack}.blind", label=world.lead, site="").all
    there = next((n for n in found if n.done), None)
    if there is None:
        return None
    sees = there.low is not None and there.low > 0.5
    said = (
        "can already tell members from others, so that not all success is leakage"
        if sees
        else "can only guess, as it should be"
    )
    return Check(
        control="blind",
        name=f"{attack}.blind",
        secret="",
        outcome="failed" if sees else "passed",
        text=f"An attacker who looks at no released record {said}: {_shown(there)}.",
    )


def _unheard(
    control: Literal["copy", "real"], name: str, secret: str, found: Number | None
) -> Check:
    who = "The copy control" if control == "copy" else "The null control"
    reasons = found.reasons if found is not None else ()
    return Check(
        control=control,
        name=name,
        secret=secret,
        outcome="refused" if reasons else "not played",
        text=f"{who} says nothing: {told(reasons)}." if reasons else f"{who} was not played.",
    )


def _shown(found: Number) -> str:
    what = "AUC" if found["name"].endswith((".auc", ".blind")) else "advantage"
    return f"{what} {interval(found)}, {seeds(found)}"


def broken(name: str, secret: str, played: Sequence[Check]) -> list[str]:
    """Return why failed controls make an attack worthless here; empty where they do not."""
    said = {
        "copy": "even a copy of the training records gave it no advantage"
        if secret
        else "the attack did not even catch a copy of the training records",
        "real": "the attack also went off on records that no generator saw",
    }
    failed = [
        c.control for c in played if (c.name, c.secret, c.outcome) == (name, secret, "failed")
    ]
    return [said[control] for control in failed if control in said]
