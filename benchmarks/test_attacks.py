"""Attacks on released records: ours against Anonymeter's, which needs an environment of its own.

python -m venv peers && peers/bin/pip install anonymeter
PEERS=peers/bin/python pytest benchmarks/test_attacks.py
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedbench import games
from fedbench.attack import Knowledge
from fedbench.data import Cohort, DataStore
from fedbench.datasets.simulated import Simulated
from fedbench.kinds import ATTACKS
from fedbench.metric import Measure
from fedbench.seeds import Seeds
from fedbench.testing import planted

PATIENTS = int(os.environ.get("PATIENTS", "10000"))
ASKED = min(2_000, PATIENTS)  # attacks of theirs; ours ask about everybody
SECRET = "smoker"  # noqa: S105


@pytest.fixture(scope="module")
def parts() -> dict[str, Cohort]:
    people = Simulated(patients=3 * PATIENTS, hospitals=1, labs=2, codes=2, seed=0)
    everybody = people.load(DataStore(None))
    order = np.random.default_rng(0).permutation(everybody.patients)
    train, control, reference = (
        everybody.take(order[i * PATIENTS : (i + 1) * PATIENTS]) for i in range(3)
    )
    released = planted.copied(train, np.random.default_rng(1))
    return {"train": train, "control": control, "reference": reference, "synthetic": released}


class Nothing:
    """What is known beside the release."""

    def blind(self) -> None: ...
    def reference(self) -> None: ...


def ours(name: str, parts: dict[str, Cohort]) -> dict[str, float]:
    """Return seconds of a processor, and the success among members and others."""
    attack = ATTACKS.build(name)
    dealt = games.Dealt(parts["train"], {"": parts["train"]}, {"": parts["control"]}, secrets=9)
    challenges = games.deal(attack.game, dealt, np.random.default_rng(0))
    challenge = next(c for c in challenges if c.public.secret in ("", SECRET))
    held = {Knowledge.SYNTHETIC: parts["synthetic"], Knowledge.REFERENCE: parts["reference"]}
    sight = games.show(attack, parts["train"].schema, held)
    start = time.process_time()
    scored = games.play(attack, sight, challenge, Seeds(0), Nothing())[1]
    seconds = time.process_time() - start
    rows = {s.measure.part: s.measure for s in scored if isinstance(s.measure, Measure)}
    members = next(rows[part] for part in ("linked", "singled", "accuracy") if part in rows)
    return {"seconds": seconds, "members": members.value, "others": rows["control"].value}


def test_they_find_as_much_and_sooner(
    parts: dict[str, Cohort], say: Callable[[str], None], tmp_path: Path
) -> None:
    peers = os.environ.get("PEERS")
    assert peers, "Name a Python that has Anonymeter: PEERS=peers/bin/python"
    for name in ("train", "control", "synthetic"):
        parts[name].table.to_csv(tmp_path / f"{name}.csv", index=False)
    half = games.halves_of(parts["train"])[0]
    script = Path(__file__).with_name("anonymeter_peer.py")
    command = [peers, str(script), str(tmp_path), str(ASKED), ",".join(half), SECRET]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    for theirs, mine in (("linkage", "linkage"), ("inference", "lookalike"), ("singling",) * 2):
        our, their = ours(mine, parts), json.loads(said)[theirs]
        # They ask about so many members, and as many others; ours about all.
        each = [our["seconds"] / (2 * PATIENTS), their["seconds"] / (2 * ASKED)]
        if mine == "singling":  # so many descriptions are tried
            each = [our["seconds"] / 1_000, their["seconds"] / ASKED]
        say(
            f"{mine} on a copy, {PATIENTS:,} patients: ours {our['seconds']:.3g} s "
            f"({our['members']:.3f} of members, {our['others']:.3f} of others), theirs "
            f"{their['seconds']:.3g} s for {ASKED:,} attacks ({their['members']:.3f}, "
            f"{their['others']:.3f}); for each one asked about, theirs / ours "
            f"{each[1] / each[0]:.3g}"
        )
        assert our["members"] > their["members"] - 0.05
        assert each[1] > each[0]
