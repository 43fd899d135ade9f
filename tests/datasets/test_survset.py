"""Two cohorts out of the SurvSet package, and how they are unpacked."""

from __future__ import annotations

import os
import pickle  # noqa: TID251  (to pack what the tool must unpack without running it)
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, DataStore
from fedbench.datasets.dialysis import CENTRES, Dialysis
from fedbench.datasets.support2 import Support2
from fedbench.errors import DataError
from fedbench.task import problem

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "unpack_survset.py"))
unpacked: Callable[[bytes], pd.DataFrame] = TOOL["table"]

DIALYSIS = """pid,event,time,center,disease,age,begin
0,1,3,120,hypert,59,1
1,0,44,5768,congen,0,1
"""
SUPPORT = {
    "pid": 0, "event": 1, "time": 47, "age": 52.74698, "num_co": 2, "edu": 12, "scoma": 44,
    "hday": 4, "sps": 20.5, "surv2m": 0.79, "surv6m": 0.66, "meanbp": 70, "wblc": 17.097656,
    "hrt": 88, "resp": 28, "temp": 37.39844, "pafi": 231.65625, "alb": 1.799805, "bili": 2.199707,
    "crea": 1.199951, "sod": 134, "ph": 7.459961, "glucose": "", "bun": "", "urine": 0, "adlp": 1,
    "adls": 0, "sex": "female", "dzgroup": "Cirrhosis", "dzclass": "COPD/CHF/Cirrhosis",
    "race": "white", "diabetes": 0, "dementia": 1, "ca": "no", "dnr": "no dnr",
    "sfdm2": "<2 mo. follow-up", "income": "under $11k",
}  # fmt: skip
GIVES_AWAY = {"sfdm2", "dnr", "adlp", "adls", "sps", "surv2m", "surv6m"}


def put(folder: Path, name: str, content: str) -> DataStore:
    (folder / "survset").mkdir()
    (folder / "survset" / f"{name}.csv").write_text(content)
    return DataStore(folder)


def support(folder: Path, **changes: object) -> Cohort:
    early = {**SUPPORT, "pid": 1, "time": 3}
    rows = pd.DataFrame([{**SUPPORT, **changes}, early])
    return Support2().load(put(folder, "support2", rows.to_csv(index=False)))


def test_months_become_days_and_centres_are_sites(tmp_path: Path) -> None:
    found = Dialysis().load(put(tmp_path, "dialysis", DIALYSIS))
    assert found.sites is not None
    assert list(found.sites) == ["120", "5768"]
    assert found.outcome["time"].tolist() == pytest.approx([3 * 30.4375, 44 * 30.4375])
    assert found.static["disease"].tolist() == ["hypertension", "congenital"]


def test_what_is_not_there_is_named_with_the_way_to_it(tmp_path: Path) -> None:
    (tmp_path / "survset").mkdir()
    with pytest.raises(DataError, match=r"no table 'dialysis' in .*unpack_survset\.py"):
        Dialysis().load(DataStore(tmp_path))


def test_an_unknown_centre_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'center' is '7'"):
        Dialysis().load(put(tmp_path, "dialysis", DIALYSIS.replace(",120,", ",7,")))


def test_what_gives_the_death_away_is_not_read(tmp_path: Path) -> None:
    found = support(tmp_path)
    assert not GIVES_AWAY & {*found.table, *found.schema.static}
    assert not GIVES_AWAY & {*Support2.tables["support2"]}


def test_who_died_before_the_index_time_takes_part_in_no_task(tmp_path: Path) -> None:
    found = support(tmp_path)
    for task in found.schema.tasks.values():
        assert problem(found, task).patients.tolist() == ["0"]
    later = {name for name, c in found.schema.static.items() if c.known == 3}
    assert {"hrt", "scoma", "urine"} < later
    assert later <= {*problem(found, found.schema.tasks["death"]).predictors}


def test_numbers_are_as_measured_and_the_impossible_is_missing(tmp_path: Path) -> None:
    row = support(tmp_path, hrt=0, alb=29, race="missing").table.loc["0"]
    assert row[["hrt", "alb", "race"]].isna().all()
    assert (row["crea"], row["ph"], row["temp"]) == (1.2, 7.46, 37.4)
    assert (row["urine"], row["dementia"], row["event"]) == (0, "yes", "yes")


@pytest.fixture
def real() -> DataStore:
    store = DataStore(Path(os.environ.get("FEDBENCH_DATA", ".")))
    try:
        store.folder("survset")
    except DataError as reason:
        pytest.skip(str(reason))
    return store


def test_the_counts_of_dialysis(real: DataStore) -> None:
    found = Dialysis().load(real)
    sizes = pd.Series(found.sites).value_counts()
    assert (len(found), found.event.sum(), len(sizes)) == (6_805, 1_603, 67)
    assert (sizes.min(), sizes.max(), (sizes >= 100).sum()) == (4, 241, 32)
    assert set(sizes.index) == set(CENTRES)


def test_the_counts_of_support2(real: DataStore) -> None:
    found = Support2().load(real)
    assert (len(found), found.event.sum()) == (9_105, 6_201)
    assert len(problem(found, found.schema.tasks["death"])) == 9_105 - 138


def test_a_table_is_unpacked_as_it_was_packed() -> None:
    frame = pd.DataFrame(
        {
            "pid": np.arange(4),
            "num_age": [1.5, np.nan, 3.0, 4.0],
            "fac_center": pd.Categorical([120, 120, None, 7]),
            "num_edu": [0.0, 1.0, 2.0, 3.0],
            "fac_note": np.array(["a", "b", "c", "d"], dtype=object),
        }
    )
    found = unpacked(pickle.dumps(frame, protocol=5))
    wanted = frame.set_axis(["pid", "age", "center", "edu", "note"], axis=1)
    pd.testing.assert_frame_equal(found.astype({"center": float}), wanted.astype({"center": float}))


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


def test_nothing_in_a_packed_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"names posix\.mkdir|names nt\.mkdir"):
        unpacked(pickle.dumps(Harm()))
    assert not any(tmp_path.iterdir())
    pickle.loads(pickle.dumps(Harm()))  # noqa: S301  (it would have)
    assert (tmp_path / "harm").is_dir()
