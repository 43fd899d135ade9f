"""Do the attacks work, and do they keep quiet? Asked before anything is said about leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from fedbench.games.blind import DIFFER, STRICT
from fedbench.games.controls import CAUGHT, FOLLOWED, IGNORED, QUIET, TURNED
from fedbench.nouns import plural
from fedbench.report.numbers import SOME, Number
from fedbench.report.plays import Play
from fedbench.report.shares import BEYOND
from fedbench.report.words import POWER, interval, seeds, shown, signed, told
from fedbench.report.world import World

__all__ = [
    "ALONE",
    "NOTHING",
    "Check",
    "backwards",
    "broken",
    "checks",
    "doubted",
    "heard_of",
    "listed",
    "may_be_chance",
    "noticeable",
    "noticed",
    "passed",
    "shown_beyond",
    "unproven",
    "unsaid",
]

Outcome = Literal["passed", "in some seeds only", "failed", "refused", "not played"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One control of one attack."""

    control: Literal["copy", "real", "blind", "step", "strangers"]
    name: str
    secret: str
    tried: str
    outcome: Outcome
    text: str
    brief: str = ""
    """Its number alone, where there is no more to say than that it was passed."""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {name: value for name, value in asdict(self).items() if name != "brief"}


def chance(name: str) -> float:
    """Return what an attack reaches by guessing."""
    return 0.5 if name.endswith(".auc") else 0.0


def noticed(found: Number) -> bool:
    """Whether an attack did better than guessing: its interval lies above chance."""
    return found.low is not None and found.low > chance(found["name"])


def noticeable(found: Number) -> float | None:
    """Return what would have been noticed four times out of five, by the rule of `noticed`.

    A row tells what its own test would have found; the interval over seeds is wider, and says
    more strictly what an attack must reach to leave chance behind. The larger one counts. Of an
    attack that answers yes or no a row of one seed knows it exactly.
    """
    known = [] if found.detectable is None else [found.detectable]
    exact = known and found.seeds == 1 and found["name"].endswith(f".{BEYOND}")
    if found.value is not None and found.low is not None and not exact:
        known.append(chance(found["name"]) + POWER * (found.value - found.low))
    return min(max(known), 1.0) if known else None


def below(found: Number) -> bool:
    """Whether an attack did worse than guessing: its interval lies below chance."""
    return found.high is not None and found.high < chance(found["name"])


def backwards(found: Number) -> bool:
    """Whether an attack told members from others the wrong way round, after Holm's correction."""
    return below(found) and bool(found.turned)


def checks(world: World) -> list[Check]:
    """Play every control of every attack in words."""
    found = [
        check
        for play in world.plays
        for check in _rehearsed(world, play) or (_copy(world, play), _null(world, play))
    ]
    blind = (_blind(world, attack) for attack in world.attacks)  # the same for each of them
    return found + [check for check in blind if check][:1]


def passed(play: Play, played: Sequence[Check]) -> bool:
    """Whether an attack found what is there, and kept quiet where nothing is."""
    held = {c.control for c in _of(play, played) if c.outcome == "passed"}
    return held >= {"copy", "real"} or held >= {"step", "strangers"}


def heard_of(play: Play, played: Sequence[Check]) -> bool:
    """Whether any control of an attack could be played."""
    return any(c.outcome not in ("refused", "not played") for c in _of(play, played))


def _of(play: Play, played: Sequence[Check]) -> list[Check]:
    return [c for c in played if (c.name, c.secret) == (play.name, play.secret)]


_PASSED = {
    "copy": "The copy of the training records was caught by every one of these",
    "real": "The null control (records that no generator saw) was silent in every one of these",
}


def listed(played: Sequence[Check]) -> list[dict[str, str]]:
    """Return controls as a reader goes through them; those that were simply passed are one item."""
    plain = {
        control: [c for c in played if c.control == control and c.outcome == "passed" and c.brief]
        for control in _PASSED
    }
    told = []
    for check in played:
        mine = plain.get(check.control, [])
        if check not in mine or len(mine) == 1:
            tried = "" if check.control == "blind" else f"{check.tried}: "
            told.append((check.outcome, f"{tried}{check.text}"))
        elif check is mine[0]:
            each = "; ".join(f"{c.tried}, {c.brief}" for c in mine)
            told.append((check.outcome, f"{_PASSED[check.control]} (95 % intervals): {each}."))
    return [{"outcome": outcome, "text": text} for outcome, text in told]


def _check(
    control: Literal["copy", "real"], world: World, play: Play, outcome: Outcome, text: str
) -> Check:
    return Check(
        control=control,
        name=play.name,
        secret=play.secret,
        tried=play.tried(world.plays, world.words),
        outcome=outcome,
        text=text,
    )


def _control(world: World, generator: str, play: Play) -> Number | None:
    found = world.numbers.where(
        regime="control", label=generator, name=play.name, secret=play.secret, site="", level="",
        column="",
    )  # fmt: skip
    return found.best("target", ("pooled", "", "specialist", "generalist"))


# --- Held or not, seed by seed ----------------------------------------------------------------


@dataclass(frozen=True)
class _Held:
    """In how many seeds a control held, judged as when rows were believed or refused."""

    seeds: int
    asked: int
    why: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        """One word for all seeds; ``passed`` means that it held in each."""
        if self.seeds == self.asked:
            return "passed"
        return "in some seeds only" if self.seeds else "failed"

    @property
    def failures(self) -> str:
        """Where it failed, and why; rows of these seeds are refused."""
        lost = self.asked - self.seeds
        which = "in the other" if lost == 1 else "in the others"
        what = "that seed" if lost == 1 else "those seeds"
        return (
            f"{which} the control failed, and what this attack found in {what} does not count: "
            f"{_reasons(self.why)}"
        )


def _held(world: World, generator: str, play: Play) -> _Held | None:
    """Return the judgement that the run itself made, once per seed."""
    rows = world.numbers.where(
        regime="control", label=generator, name=f"{play.attack}.check", secret=play.secret, level=""
    )
    found = next((n for n in rows if n.value is not None), None)
    if found is None or found.value is None:
        return None
    texts = [text.removeprefix(SOME) for text in found.verdicts]
    why = tuple(text for text in texts if not text.startswith((CAUGHT, QUIET)))
    return _Held(round(found.value * found.seeds), found.seeds, why)


def _rehearsed(world: World, play: Play) -> list[Check]:
    """Return how the controls of an attack on the training went that the cell played itself."""
    rows = world.own.where(
        label=world.lead, regime=world.main, name=f"{play.attack}.check", secret=play.secret
    )
    said: Mapping[Literal["step", "strangers"], str] = {
        "step": "An exact step of this generator on few patients",
        "strangers": "The null control (patients of whom nothing crossed)",
    }
    found = []
    for control, what in said.items():
        mine = next((n for n in rows.where(group=control) if n.value is not None), None)
        if mine is None or mine.value is None:
            continue
        texts = [text.removeprefix(SOME) for text in mine.verdicts]
        why = tuple(text for text in texts if not text.startswith((FOLLOWED, IGNORED)))
        held = _Held(round(mine.value * mine.seeds), mine.seeds, why)
        text = f"{what}: {_reasons(why) if why else texts[0] + '.'}"
        found.append(
            Check(
                control=control,
                name=play.name,
                secret=play.secret,
                tried=play.tried(world.plays, world.words),
                outcome=held.outcome,
                text=text,
            )
        )
    return found


def _reasons(why: Sequence[str]) -> str:
    return " ".join(f"{signed(text).rstrip('.')}." for text in why) or "No reason was recorded."


def _copy(world: World, play: Play) -> Check:
    found, held = _control(world, "copy", play), _held(world, "copy", play)
    if found is None or not found.done or held is None:
        return _unheard("copy", world, play, found)
    said = {
        "passed": f"was caught{_one_by_one(found, held)}: {_shown(found)}.",
        "in some seeds only": f"was caught in {held.seeds} of {held.asked} seeds only; "
        f"{held.failures}",
        "failed": f"was NOT caught: this attack finds nothing here. {_reasons(held.why)}",
    }[held.outcome]
    brief = _brief(found) if noticed(found) else ""
    said = f"The copy of the training records {said}"
    return replace(_check("copy", world, play, held.outcome, said), brief=brief)


def _one_by_one(found: Number, held: _Held) -> str:
    """Say that every seed was judged alone, where the interval over all of them is too wide."""
    if noticed(found):
        return ""
    several = "each taken alone (the interval over all seeds is wider)"
    return f" in {held.seeds} of {plural(held.asked, 'seed')}, {several}"


def _null(world: World, play: Play) -> Check:
    found, held = _control(world, "real", play), _held(world, "real", play)
    if found is None or not found.done or held is None:
        return _unheard("real", world, play, found)
    outcome, said = _silence(found, held)
    said = f"The null control (records that no generator saw) {said}"
    brief = "" if noticed(found) or below(found) else _brief(found)
    return replace(_check("real", world, play, outcome, said), brief=brief)


def _silence(found: Number, held: _Held) -> tuple[Outcome, str]:
    """Went off, spoke the wrong way round, or was silent."""
    if held.outcome == "failed":
        said = "went off, though it should not: this attack accuses without cause."
        return "failed", f"{said} {_reasons(held.why)}"
    if held.outcome == "in some seeds only":
        return held.outcome, f"was silent in {held.seeds} of {held.asked} seeds only; " + (
            held.failures
        )
    strict = f", at the strict level of {STRICT:g} for all attacks together"
    if any(text.startswith(TURNED) for text in held.why):
        # Training and control patients differ so as to hide a leak: silence says nothing.
        said = f"says nothing, as it scored training patients lower than others{strict}"
        return "refused", f"{said}: {_shown(found)}."
    loud = noticed(found) or below(found)
    return "passed", f"was silent{strict if loud else ''}: {_shown(found)}."


def _blind(world: World, attack: str) -> Check | None:
    found = world.own.where(name=f"{attack}.blind", label=world.lead, site="").all
    there = next((n for n in found if n.done), None)
    if there is None:
        return None
    sees = any(DIFFER in verdict for verdict in there.verdicts) or (
        there.low is not None and there.low > 0.5
    )
    said = (
        "can already tell members from others, so that not all success is leakage"
        if sees
        else "can only guess, as it should be"
    )
    return Check(
        control="blind",
        name=f"{attack}.blind",
        secret="",
        tried=f"attack {attack}" if len(world.attacks) == 1 else "no attack",
        outcome="failed" if sees else "passed",
        text=f"An attacker who looks at no released record {said}: {_shown(there, 1 - STRICT)}.",
    )


def _unheard(
    control: Literal["copy", "real"], world: World, play: Play, found: Number | None
) -> Check:
    who = "The copy control" if control == "copy" else "The null control"
    reasons = found.reasons if found is not None else ()
    if reasons:
        return _check(control, world, play, "refused", f"{who} says nothing: {told(reasons)}.")
    return _check(control, world, play, "not played", f"{who} was not played.")


def _shown(found: Number, level: float = 0.95) -> str:
    return f"{_what(found)} {interval(found, level)}, {seeds(found)}"


def _brief(found: Number) -> str:
    value, low, high = shown(found)
    return f"{_what(found)} {value} ({low} to {high})"


def _what(found: Number) -> str:
    return "AUC" if found["name"].endswith((".auc", ".blind")) else "advantage"


def broken(play: Play, played: Sequence[Check]) -> list[str]:
    """Return why failed controls make an attack worthless here; empty where they do not."""
    said = {
        "copy": play.said.useless,
        "real": "the attack also went off on records that no generator saw",
        "step": "the attack did not even recognise those on whom an exact step was taken",
        "strangers": "the attack also went off on patients of whom nothing crossed",
    }
    asked = (play.name, play.secret, "failed")
    failed = [c.control for c in played if (c.name, c.secret, c.outcome) == asked]
    return [said[control] for control in failed if control in said]


def doubted(play: Play, found: Number, played: Sequence[Check]) -> list[str]:
    """Return why nothing can be said of what an attack found; empty where something can.

    What it noticed counts where it did not go off without cause. That it noticed nothing counts
    only where it caught the copy in every seed.
    """
    if (reasons := broken(play, played)) or noticed(found):
        return reasons
    mixed = (play.name, play.secret, "copy", "in some seeds only")
    if any((c.name, c.secret, c.control, c.outcome) == mixed for c in played):
        return ["the attack caught a copy of the training records in some seeds only"]
    return [why] if (why := unsaid(found)) else []


ALONE = "before Holm's correction"
"""How it is reckoned what would have been noticed."""

NOTHING = "nothing can be said"
"""How the verdict on a row begins that proves nothing where it is not beyond chance."""


def shown_beyond(found: Number) -> bool:
    """Whether a number is beyond chance: by its interval, and after Holm's correction."""
    return bool(found.noticed) and noticed(found)


def may_be_chance(found: Number) -> str:
    """Say of a number whose interval lies above chance that it is not beyond it; nothing if it is.

    So it is where it would be a leak if it alone had been asked for.
    """
    if not noticed(found) or found.noticed != 0:
        return ""
    return "not beyond chance after Holm's correction for all that was asked"


def unproven(found: Number) -> bool:
    """Whether a number proves nothing: a leak would have gone unnoticed, and none is shown."""
    return not shown_beyond(found) and any(text.startswith(NOTHING) for text in found.verdicts)


def unsaid(found: Number) -> str:
    """Return why a number says nothing, as its own row has it in every seed; nothing if it does."""
    shown = shown_beyond(found)
    told = [] if shown else [text for text in found.verdicts if text.startswith(NOTHING)]
    return signed(told[0].removeprefix(f"{NOTHING}: ")) if told else ""
