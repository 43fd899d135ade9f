"""What leaked, in sentences: never without the controls, never more than was tested."""

from __future__ import annotations

from collections.abc import Sequence

from fedbench.report.controls import Check, backwards, broken, noticeable, noticed
from fedbench.report.numbers import Number
from fedbench.report.words import interval, joined, nothing, number, percent, seeds
from fedbench.report.world import World

__all__ = ["attributes", "membership"]


def membership(world: World, label: str, played: Sequence[Check]) -> str:
    """Say whether an attacker can tell who was trained on, for every attack."""
    found = [(attack, world.pooled(label, world.main, f"{attack}.auc")) for attack in world.attacks]
    if not found:
        return nothing("whether training patients can be recognized", ["no such attack was run"])
    return " ".join(_member(world, label, attack, n, played) for attack, n in found)


def _member(
    world: World, label: str, attack: str, found: Number | None, played: Sequence[Check]
) -> str:
    noun = f"whether training patients can be recognized (attack {attack})"
    if found is None or not found.done:
        reasons = found.reasons if found is not None else ()
        return nothing(noun, reasons or ["the attack was not run on this release"])
    if because := broken(f"{attack}.auc", "", played):
        return nothing(noun, because)
    area = f"AUC {interval(found)}, where 0.5 is guessing, {seeds(found)}"
    first, tail = _controls(f"{attack}.auc", played), _leak(world, label, attack)
    if noticed(found):
        return (
            f"{first} Training patients could be recognized by the attack {attack}: {area}.{tail}"
        )
    if backwards(found):
        return (
            f"{first} The attack {attack} told training patients from others the wrong way round: "
            f"{area}. Who knows that can turn it round.{tail}"
        )
    return (
        f"{first} Training patients could not be recognized by the attack {attack}: {area}."
        f"{_would(found)}{_mixed(found)}{tail}{_elsewhere(world, label, attack)}"
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
            texts.append(f" {nothing(f'attacks with {at} % false alarms', found.reasons)}")
    return "".join(texts)


def _share(at: str, found: Number) -> str:
    if found.low is not None and found.low > 0:
        return f"With {at} % false alarms it gives away {interval(found)} of them."
    seen = noticeable(found)
    would = f"; a share of {percent(seen)} would have been noticed" if seen is not None else ""
    return f"With {at} % false alarms no leak could be shown: {interval(found)} of them{would}."


def _would(found: Number) -> str:
    seen = noticeable(found)
    return "" if seen is None else f" An AUC of {number(seen)} or more would have been noticed."


def _elsewhere(world: World, label: str, attack: str) -> str:
    """Under which other regimes the same generator gives training patients away."""
    asked = [(r, world.pooled(label, r, f"{attack}.auc")) for r in world.regimes if r != world.main]
    found = [f"{r} (AUC {number(n.value)})" for r, n in asked if n is not None and noticed(n)]
    return (
        f" Under other regimes training patients could be recognized: {joined(found)}."
        if found
        else ""
    )


def _mixed(found: Number) -> str:
    if not found.noticed:
        return ""
    return (
        f" Caution: taken alone, {found.noticed} of {found.seeds} seeds did better than guessing."
    )


def attributes(world: World, label: str, played: Sequence[Check]) -> str:
    """Say which sensitive facts are inferred better for those who were trained on."""
    secrets = world.numbers.where(name="attribute.advantage").values("secret")
    if not secrets:
        return nothing("sensitive facts", ["no such attack was run"])
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
                nothing(f"whether {joined(names)} can be inferred", [because])
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
    most = max((seen for n in found if (seen := noticeable(n)) is not None), default=None)
    of = " the largest" if len(found) > 1 else " the"
    alone = [f" “{n['secret']}”:{_mixed(n)}" for n in found if n.noticed]
    would = f" One of {number(most)} or more would have been noticed." if most is not None else ""
    return (
        f"Guesses of {names} were not shown to be better for training patients than for others:"
        f"{of} advantage is {interval(largest)}.{would}{''.join(alone)}"
    )


def _controls(name: str, played: Sequence[Check]) -> str:
    """What the controls say comes before what the attack says."""
    outcomes = {check.control: check.outcome for check in played if check.name == name}
    caught = (
        "the copy control was caught"
        if outcomes.get("copy") == "passed"
        else "no copy control has shown that this attack works here"
    )
    silent = {"passed": "was silent", "refused": "says nothing"}
    null = silent.get(outcomes.get("real", ""), "was not played")
    return f"Controls first: {caught}, and the null control {null}."
