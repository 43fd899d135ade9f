"""The four answers about every generator, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence

from fedbench.report.cells import Json, amount, cell, head, role_of
from fedbench.report.controls import Check, backwards, doubted, noticed
from fedbench.report.numbers import Number
from fedbench.report.plays import Play
from fedbench.report.sentences import ONE_HOSPITAL, turned, verdict
from fedbench.report.traffic import traffic
from fedbench.report.world import World

__all__ = ["behind", "overview"]


def overview(world: World, played: Sequence[Check]) -> list[Json]:
    """Return the four answers for every generator, in cells."""
    return [_answers(world, label, played) for label in world.labels]


def _answers(world: World, label: str, played: Sequence[Check]) -> Json:
    name, task = world.score
    gain = world.difference(label, "gain", name, task, "over local")
    tax = turned(world.difference(label, "tax", name, task))
    found = {
        play: world.pooled(label, world.main, play.name)
        if play.said.main == "auc"
        else world.gained(label, play)
        for play in world.plays
    }
    asked = [(play.game, _attack(world, play, n, played)) for play, n in found.items()]
    return {
        "generator": label,
        "role": role_of(label),
        "gain": _change(gain, single=world.single),
        "tax": _change(tax),
        "members": [said for game, said in asked if game == "membership"],
        "facts": [said for game, said in asked if game == "attribute"],
        "others": [said for game, said in asked if game not in ("membership", "attribute")],
        "sent": amount(traffic(world, label, world.main).each),
    }


def _change(found: Number | None, *, single: bool = False) -> Json:
    if single:
        said = "not applicable"
        return {"status": said, "shown": said, "range": "", "note": ONE_HOSPITAL, "verdict": said}
    return {**cell(found), "verdict": verdict(found)}


def behind(world: World) -> list[Json]:
    """Return what gains and costs are the differences of, for every generator."""
    asked = dict.fromkeys([world.score, world.utility, (world.fidelity, "")])
    pairs = [pair for pair in asked if pair[0]]
    rows = [_behind(world, label, *pair) for label in world.labels for pair in pairs]
    return [row for row in rows if any(row[k]["status"] == "done" for k in ("gain", "tax"))]


def _behind(world: World, label: str, name: str, task: str) -> Json:
    gain = world.difference(label, "gain", name, task, "over local")
    level = gain["level"] if gain is not None and gain["level"] else "patient-weighted"
    own = {r: world.mean(label, r, name, task, level) for r in ("local", "federated")}
    return {
        "generator": label,
        **head(world, name, task),
        "local": cell(own["local"]),
        "federated": cell(own["federated"]),
        "gain": _change(gain, single=world.single),
        "centralized": cell(world.pooled(label, "centralized", name, task)),
        "pooled": cell(world.pooled(label, "federated", name, task)),
        "tax": _change(turned(world.difference(label, "tax", name, task))),
    }


def _attack(world: World, play: Play, found: Number | None, played: Sequence[Check]) -> Json:
    said = "not detectable by this attack"
    if found is None or not found.done or doubted(play, found, played):
        said = "nothing can be said"
    elif noticed(found):
        said = "noticed"
    elif backwards(found):
        said = "the wrong way round"
    return {
        "name": play.name,
        "secret": play.secret,
        "called": world.called(play),
        "tried": play.tried(world.plays, world.words),
        **cell(found),
        "verdict": said,
    }
