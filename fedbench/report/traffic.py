"""What crossed between the hospitals and the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedbench.nouns import plural
from fedbench.report.numbers import Number, Numbers
from fedbench.report.words import human_bytes, nothing
from fedbench.report.world import World

__all__ = ["Traffic", "sent", "traffic"]


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


def sent(world: World, label: str) -> str:
    """Say what a hospital sends and receives, beside what its records weigh."""
    found = traffic(world, label, world.main)
    if found.each is None:
        return nothing("how much was sent", _why_no_bytes(world, label))
    up, down = ((way or 0.0) / found.hospitals for way in (found.up, found.down))
    rounds = world.pooled(label, world.main, "communication.rounds")
    each = "the hospital" if found.hospitals == 1 else f"each of {found.hospitals} hospitals"
    when = _first(each)
    if rounds and rounds.value:
        when = f"{_exchanges(rounds, stops=world.stops)}, {each}"
    records = traffic(world, label, "centralized").up if world.main == "federated" else None
    price = (
        f" For comparison, the training records themselves are {human_bytes(records)}."
        if records
        else ""
    )
    total = human_bytes((found.up or 0.0) + (found.down or 0.0))
    return (
        f"{when} sent {human_bytes(up)} and received {human_bytes(down)}"
        f"{'' if found.hospitals == 1 else f' on average ({total} in all)'}.{price}"
    )


_AHEAD = 2
"""Exchanges before the first round: sites enrol, and all agree on the encoder."""


def _exchanges(found: Number, *, stops: bool) -> str:
    """Say in how many exchanges, and why these are not the scenario's rounds."""
    took, rounds = round(found.value or 0.0), int(found["rounds"] or 0)
    said = f"In {plural(took, 'exchange')}"
    if rounds and stops:
        most = f"at most {plural(rounds, 'round')} of training"
        return f"{said} ({most}; asking patients held back to judge one is an exchange too)"
    if rounds and took == rounds + _AHEAD:
        ahead = f"{_AHEAD} to enrol and to agree how records are encoded"
        return f"{said} ({plural(rounds, 'round')} of training, {ahead})"
    if rounds and took < rounds + _AHEAD and took != rounds:
        others = f"the scenario's {plural(rounds, 'round')} are for generators that train in rounds"
        return f"{said} ({found['label']} needs no more; {others})"
    return said


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _why_no_bytes(world: World, label: str) -> list[str]:
    found = world.own.where(label=label, regime=world.main, name="communication.bytes")
    return sorted({r for n in found for r in n.reasons}) or ["it was not recorded"]
