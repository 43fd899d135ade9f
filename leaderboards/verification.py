"""Scoring a bundle's records again.

A bundle is laid out as a run whose cells are trained but not scored, and goes on like any
resumed run: no number is computed here in another way than by ``fedbench run``. The code of
the generator is not needed, and never asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedbench.cells import Cell, cells_of, perform
from fedbench.collect import rows_of, table_of
from fedbench.config import GeneratorChoice, Suite
from fedbench.data import DataStore
from fedbench.environment import versions
from fedbench.errors import RunError
from fedbench.jobs import jobs_of, load
from fedbench.leaderboards.archive import table_in
from fedbench.leaderboards.board import Board
from fedbench.leaderboards.bundle import Bundle, Place
from fedbench.leaderboards.comparison import different, same_guesses
from fedbench.report.world import FLOOR
from fedbench.results import RunDir, read_parquet, write_json
from fedbench.workers import Event, Observer, Task, heeding_ctrl_c, work

__all__ = ["Verified", "verify"]

Row = dict[str, Any]

STAND_IN = "fedbench.leaderboards.standin:StandIn"

THEIRS = ("generator", "generator_version", "settings")
"""What of a row nobody but the submitter can say."""

ATTESTED = ("communication", "compute")
"""Families that only whoever trained could measure: bytes come from the submitted ledger."""

REPLAYED = frozenset(["synthetic", "reference", "other columns"])
"""What an attacker may know so that the attack can be played again."""

ENGINES = ("numpy", "scipy", "scikit-learn", "lifelines", "pandas")


@dataclass(frozen=True)
class Verified:
    """What came out.

    ``rows`` are the recomputed ones with their replicates, under the submitter's names for
    what was trained; none if the records could not be scored. ``mismatches`` name every cell,
    row and guess that does not fit.
    """

    bundle: Bundle
    rows: Sequence[Row]
    mismatches: Sequence[str]

    @property
    def attested(self) -> int:
        """Rows that are what the submitter says."""
        return sum(map(_is_attested, self.rows))

    @property
    def recomputed(self) -> int:
        """Rows that were computed again from the submitted records."""
        return len(self.rows) - self.attested


def verify(
    bundle: Bundle, board: Board, store: DataStore, jobs: int, observe: Observer
) -> Verified:
    """Score the records of a bundle again, in ``jobs`` processes; with 1, in this one.

    Raises:
        RunError: the bundle is for another board, or about other records.
    """
    with TemporaryDirectory(prefix="fedbench-verify-") as folder:
        try:
            _check_board(bundle, board)
            _check_data(bundle, store)
            replay = _Replay.of(bundle, board.suite, RunDir(Path(folder)), store)
        except RunError as error:
            raise RunError(f"{bundle.path} is refused: {error}") from None
        replay.score(jobs, observe)
        if unfit := [*replay.unfit()]:
            return Verified(bundle, [], unfit)
        rows = replay.rows()
        found = [*different(bundle.rows, table_of(rows), board), *replay.other_guesses(board)]
        return Verified(bundle, rows, [*found, *(_other_versions(bundle) if found else [])])


def _check_board(bundle: Bundle, board: Board) -> None:
    if bundle.board != board.name:
        raise RunError(f"it was made for the board {bundle.board!r}, and this is {board.name!r}.")
    board.check(bundle.suite, "its suite")


def _check_data(bundle: Bundle, store: DataStore) -> None:
    for dataset in bundle.suite.datasets:
        ours, theirs = (
            load(dataset, store).fingerprint,
            bundle.environment["data"].get(dataset.called),
        )
        if theirs != ours:
            raise RunError(
                f"its records of {dataset.called} have the fingerprint {theirs}, ours have {ours}."
            )


@dataclass(frozen=True)
class _Replay:
    """A run whose synthetic records come from a bundle."""

    bundle: Bundle
    suite: Suite
    run: RunDir
    store: DataStore
    cells: Mapping[Place, Cell]
    controls: Sequence[Cell]

    @classmethod
    def of(cls, bundle: Bundle, frozen: Suite, run: RunDir, store: DataStore) -> _Replay:
        """Write the records of every cell where a run would have them."""
        suite = _suite(bundle.suite, frozen)
        cells, controls = {}, []
        for cell in cells_of(suite, run, store):
            if cell.regime == "control":
                controls.append(cell)
                continue
            job = cell.work.job
            place = Place(
                job.dataset.called, job.scenario.name, cell.generator, cell.regime, job.seed
            )
            cells[place] = cell
            _lay_out(place, cell, bundle)
        return cls(bundle, suite, run, store, cells, controls)

    def score(self, jobs: int, observe: Observer) -> None:
        """Do what is left to do, which is all but training."""
        todo = jobs_of(self.suite)
        observe(Event("plan", total=len(todo), note="a folder that is removed afterwards"))
        with heeding_ctrl_c() as heed:
            if jobs > 1:
                task = Task(self.suite, self.run, self.store)
                work(todo, min(jobs, len(todo)), task, observe, heed)
                return
            for job in todo:
                heed()
                status = perform(job, self.suite, self.run, self.store, lambda _: None)
                observe(Event("end", job.label, status=status))

    def unfit(self) -> Iterator[str]:
        """Name every cell whose records could not be scored, or are too few or too many."""
        for place, cell in self.cells.items():
            filed, facts = self.bundle.cells[place], cell.here.facts()
            if facts["status"] != filed.status:
                last = str(facts["reason"]).strip().rpartition("\n")[2]
                yield f"{place}: its records cannot be scored: {last}"
            elif filed.status == "done":
                static = read_parquet(cell.here.path / "synthetic" / "static.parquet")
                found = {str(k): int(v) for k, v in static["model"].value_counts().items()}
                if found != (asked := _asked(facts, place.regime)):
                    yield f"{place}: it has {_said(found)} records, expected {_said(asked)}"

    def rows(self) -> list[Row]:
        """Return all rows, with the submitter's names for what was trained."""
        cells = [*self.cells.values(), *self.controls]
        rows = rows_of(
            [c.here for c in cells], {c.train_id: c.questions.score_ids() for c in cells}
        )
        theirs = self.bundle.rows.drop_duplicates("train_id").set_index("train_id")
        named: dict[str, Row] = {
            cell.train_id: {"train_id": (train_id := self.bundle.cells[place].train_id)}
            | {name: theirs.loc[train_id, name] for name in THEIRS}
            for place, cell in self.cells.items()
        }
        return [{**row, **named.get(row["train_id"], {})} for row in rows]

    def other_guesses(self, board: Board) -> Iterator[str]:
        """Name every attack whose answers are not what was submitted."""
        for place, cell in self.cells.items():
            theirs = self.bundle.of(self.bundle.cells[place].train_id)
            for file in sorted(cell.here.path.glob("guesses-*.parquet")):
                attack = file.stem.removeprefix("guesses-")
                found, tolerance = theirs.get(file.name, b""), board.tolerance(attack)
                if not same_guesses(read_parquet(file), found, tolerance):
                    yield f"{place}: the guesses of {attack} are not what this attack answers"


def _suite(theirs: Suite, frozen: Suite) -> Suite:
    """Return their suite with the board's own words where both agree, and without their code."""
    return replace(
        theirs,
        datasets=frozen.datasets,
        metrics=frozen.metrics,
        attacks=frozen.attacks,
        device="cpu",
        threads=1,
        generators=tuple(
            choice
            if choice.name == FLOOR  # which anchors are looked for under
            else GeneratorChoice(name=STAND_IN, label=choice.label)
            for choice in theirs.generators
        ),
    )


def _lay_out(place: Place, cell: Cell, bundle: Bundle) -> None:
    """Write the tables anew, so that nothing but their values is there."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    folder, filed = cell.here.path, bundle.cells[place]
    (folder / "synthetic").mkdir(parents=True)
    for name, data in bundle.of(filed.train_id).items():
        if not name.startswith("guesses-"):
            pq.write_table(table_in(f"{name} of {place}", data), folder / name)
    write_json(folder / "timings.json", {})
    facts = {"status": filed.status, "reason": filed.reason, "row": cell.base}
    cell.here.finish({**facts, "train_id": cell.train_id, "patients": {}})


def _asked(facts: Mapping[str, Any], regime: str) -> dict[str, int]:
    """Return how many records each model of a regime writes."""
    trained = {site: int(parts["train"]) for site, parts in facts["parts"].items()}
    if regime != "local":
        trained = {"": sum(trained.values())}
    return {model: max(n, int(facts["records"])) for model, n in trained.items()}


def _said(found: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,}{' of ' * bool(model)}{model}" for model, n in sorted(found.items()))


def _is_attested(row: Row) -> bool:
    known = frozenset(str(row.get("threat") or "").split("+")) - {""}
    return row.get("family") in ATTESTED or not known <= REPLAYED


def _other_versions(bundle: Bundle) -> list[str]:
    theirs, ours = bundle.environment["versions"], versions()
    other = [f"{n} {theirs.get(n)}, here {ours[n]}" for n in ENGINES if theirs.get(n) != ours[n]]
    return [f"it was made with other versions, which may be why: {'; '.join(other)}"] * bool(other)
