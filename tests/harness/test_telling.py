"""Whatever game an attack plays, the report tells what it found and what its controls said."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from fedbench import attacking, games
from fedbench.kinds import ATTACKS
from fedbench.metric import Refusal
from fedbench.report import given, leaks
from fedbench.report.answers import overview
from fedbench.report.controls import Check, checks, listed
from fedbench.report.numbers import Numbers
from fedbench.report.words import measure, nothing
from fedbench.report.world import World

WORDS = {"tobacco": "smoking"}


def rows(attack: str, part: str, value: float, secret: str = "", **about: Any) -> list[Any]:
    """What a run says of one attack: on the release, on both controls, and of the controls."""
    base = {"dataset": "d", "scenario": "s", "seed": 0, "family": "privacy", "better": "lower"}
    base |= {"status": "done", "target": "pooled", "secret": secret, "level": ""}
    chance = 0.5 if part == "auc" else 0.0
    numbers = [("made", "given", value), ("copy", "control", 0.99), ("real", "control", chance)]
    found = [
        {**base, "label": label, "generator": label, "regime": regime, "name": f"{attack}.{part}",
         "value": v, "low": v - 0.02, "high": v + 0.02, "detectable": chance + 0.03,
         "p_value": 0.001 if v > chance + 0.02 else 0.5, "verdict": "", **about}
        for label, regime, v in numbers
    ]  # fmt: skip
    said = [("copy", games.CAUGHT), ("real", games.QUIET)]
    return found + [
        {**base, "label": label, "generator": label, "regime": "control", "value": 1.0,
         "low": 1.0, "high": 1.0, "name": f"{attack}.check", "verdict": verdict}
        for label, verdict in said
    ]  # fmt: skip


def world(*found: Sequence[Any]) -> World:
    table = pd.DataFrame([row for each in found for row in each])
    return World("d", "s", Numbers.of(table), WORDS)


@pytest.mark.parametrize(
    ("attack", "value", "said"),
    [
        ("linkage", 0.3, "was easier to tell for training patients than for others"),
        ("linkage", 0.0, "was not shown to be easier to tell for training patients"),
        ("strangers", 0.3, "The attack strangers succeeded more often for training patients"),
        ("strangers", 0.0, "The attack strangers was not shown to succeed more often"),
    ],
)
def test_every_game_has_its_sentence_and_its_controls(attack: str, value: float, said: str) -> None:
    found = world(rows("dcr", "auc", 0.5), rows(attack, "advantage", value))
    played = checks(found)
    assert {c.tried for c in played} == {"attack dcr", f"attack {attack}"}
    assert [c.outcome for c in played] == ["passed"] * 4
    text, details = leaks.leaked(found, "made", played)
    assert said in text
    assert any("advantage" in line for line in details)
    verdict = given.verdict(found, played)
    assert verdict.title == (given.GIVEN_AWAY if value else given.QUIET)
    assert attack in verdict.text
    answers = overview(found, played)[0]
    assert [a["verdict"] for a in answers["others"]] == [
        "noticed" if value else "not detectable by this attack"
    ]
    assert answers["facts"] == []


def test_what_fails_its_control_is_not_believed() -> None:
    link = rows("linkage", "advantage", 0.3)
    for row in link:
        if row["name"] == "linkage.check" and row["label"] == "real":
            row |= {"value": 0.0, "low": 0.0, "high": 0.0, "verdict": "It looks like a leak."}
    found = world(rows("dcr", "auc", 0.5), link)
    played = checks(found)
    text, details = leaks.leaked(found, "made", played)
    assert "Whether parts of a record can be linked cannot be said, see below (attack" in text
    assert any("also went off on records that no generator saw" in line for line in details)
    assert given.verdict(found, played).title == given.QUIET


def test_a_release_is_not_called_quiet_where_nobody_could_tell_members_from_others() -> None:
    members = rows("dcr", "auc", 0.5)
    for row in members:
        if row["name"] == "dcr.check" and row["label"] == "copy":
            row |= {"value": 0.0, "low": 0.0, "high": 0.0, "verdict": "It was not caught."}
    found = world(members, rows("linkage", "advantage", 0.0))
    verdict = given.verdict(found, checks(found))
    assert verdict.title == given.SILENT
    assert "did not even catch a copy" in verdict.text


def test_two_attacks_on_one_secret_are_told_apart() -> None:
    two = [rows(name, "advantage", 0.2 * i, "tobacco") for i, name in enumerate(("a", "b"))]
    found = world(*two)
    text, _ = leaks.leaked(found, "made", checks(found))
    assert "Guessing “smoking” (b) was easier for training patients than for others." in text
    assert "Guessing “smoking” (a) was not shown to be easier" in text
    alone = world(two[0])
    assert "Guessing “smoking” was not shown" in leaks.leaked(alone, "made", checks(alone))[0]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Sums over patients crossed in no round.", "because sums over patients crossed in no"),
        ("Neither gradients nor sums crossed.", "because neither gradients nor sums crossed."),
        ("TPR cannot be had.", "because TPR cannot be had."),
        ("Boston has 5 patients.", "because Boston has 5 patients."),
    ],
)
def test_reasons_stand_in_the_middle_of_a_sentence(reason: str, said: str) -> None:
    assert said in nothing("a leak", [reason])


def test_an_attack_on_trainings_says_of_records_that_they_are_of_none() -> None:
    release: Any = SimpleNamespace(overheard=None, model="")
    nowhere: Any = None
    siege = attacking.Siege(nowhere, "loss", ATTACKS.build("loss"))
    (answer,) = siege.answers(release, "pooled")
    assert isinstance(answer.found, Refusal)
    assert "these records are of no training" in answer.found.reason
    # What stands behind a check that no attack was tried in is a sentence of its own.
    blind = Check(control="blind", name="a.blind", secret="", tried="no attack", outcome="passed",
                  text="An attacker can only guess.")  # fmt: skip
    assert listed([blind]) == [{"outcome": "passed", "text": "An attacker can only guess."}]


def test_every_game_that_is_played_is_told() -> None:
    # Audits are told apart from attacks.
    assert set(games.PLAYED) == {*games.TOLD, "planted"}
    assert {ATTACKS.find(name).game for name in ATTACKS.names()} <= set(games.PLAYED)


def test_parts_of_a_game_have_its_names() -> None:
    assert measure("linkage.control") == "linked for other patients (linkage)"
    assert measure("attribute.control") == "guessed right for other patients (attribute)"
    assert measure("utility.auroc") == "AUROC"
