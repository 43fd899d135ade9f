"""Persons followed from one day on: what is asked about their records, whatever these look like.

Every source (OMOP tables, FHIR bundles) is brought into the same few tables of dates, see
``Records``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fedbench.data import OTHER, Cohort, Schema
from fedbench.datasets._catalogue import Catalogue
from fedbench.datasets._reading import MEMORY, Table, ask
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AGES",
    "DISCHARGE",
    "DRUGS",
    "FOLLOW",
    "HISTORY",
    "MONTH",
    "YEAR",
    "Following",
    "Records",
    "asked",
]

DISCHARGE = "discharge"
HISTORY = 5 * 365
FOLLOW = 5 * 365
YEAR, MONTH = 365, 30
GRACE = 30
"""Days after the end of observation in which a death still counts: observation often ends with
the last bill."""
NEAR = {"day": "date_diff('day', day0, date)::DOUBLE", "low": -HISTORY, "high": FOLLOW}

PERSONS = 40_000
"""Persons whose measurements and diagnoses are summed up at a time."""

DRUGS = 100
AGES = 120


@dataclass(frozen=True)
class Records:
    """Where the records of persons are, as questions in SQL about ``tables``.

    ``views`` answers each with these columns; days are dates, the last three may be left out:

    * ``persons``: patient, sex, born (year), race, died, lost (the last day of somebody who died
      nobody knows when)
    * ``stays``: patient, first, last, inpatient, site
    * ``diagnoses``: patient, date (from which it was known), code; may look at ``index``
    * ``measures``: patient, date, name, value
    * ``periods``: patient, first, last (under observation)
    * ``drugs``: patient, date, drug
    * ``places``: site, name (another name of the site)

    """

    origin: str
    tables: Mapping[str, Table | pd.DataFrame]
    views: Mapping[str, str]

    def __contains__(self, view: str) -> bool:
        return view in self.views

    def ask(
        self, question: str, index: pd.DataFrame | None = None, **values: object
    ) -> pd.DataFrame:
        """Ask about views and values in braces; each view once, as it is read while it streams.

        ``index`` is a table of this name that the question may join: patient, day0.
        """
        tables = {**self.tables, **({} if index is None else {"index": index})}
        views = {name: f"({view})" for name, view in self.views.items()}
        return asked(self.origin, question.format(**views, **values), **tables)


def asked(origin: str, question: str, **tables: Table | pd.DataFrame) -> pd.DataFrame:
    """Ask in SQL, each join as it is written: what is on its right is in memory, not a stream.

    Raises:
        DataError: a date or number is none, or there is too much to hold in memory; the message
            begins with ``origin``.
    """
    import duckdb  # noqa: PLC0415  (slow to import)

    # The database cannot know how long a stream is, takes it for short, and would hold all of it.
    written = "SET disabled_optimizers = 'join_order,build_side_probe_side'; "
    try:
        return ask(written + question, **tables)
    except duckdb.ConversionException as error:
        said = " ".join(str(error).split("LINE 1:")[0].split())
        raise DataError(f"{origin}: {said}") from None
    except duckdb.OutOfMemoryException:
        raise DataError(
            f"{origin}: a question about these records needs more than {MEMORY} of memory. "
            "Give the records of fewer persons, or of a shorter time."
        ) from None


@dataclass(frozen=True)
class Following:
    """One pass over the records of each kind, for those who have a day 0.

    ``index`` and ``until`` are dates, or ``DISCHARGE`` and empty.
    """

    schema: Schema
    index: str
    until: str
    system: str
    listed: Catalogue
    records: Records

    def cohort(self) -> Cohort:
        """Return everybody who has a day 0; records of five years before and after it."""
        import pandas as pd  # noqa: PLC0415

        people = self.people
        if not len(people):
            raise DataError(self._nobody())
        index = people[["patient", "day0"]]
        followed = people[["patient"]].assign(
            time=people["time"], event=people["event"].astype(int)
        )
        static = pd.DataFrame({"patient": people["patient"], **self._facts(index)})
        cohort = Cohort.of_tables(
            self.schema, static, self._visits(index), self._codes(index), followed
        )
        return replace(cohort, notes=self._left_out)

    @cached_property
    def _steps(self) -> Mapping[str, pd.DataFrame]:
        """Who is left, step by step, each with what the others lack; the first are all persons."""
        persons = self.records.ask("SELECT * FROM {persons}")
        steps = {"": persons}
        steps[self._without] = found = self._index().merge(persons, on="patient")
        found = found.merge(self._observed(found), on="patient")
        steps["not under observation on day 0"] = found
        for name in ("died", "lost"):
            found[name] = _days(found[name], found["day0"])
        if self.index != DISCHARGE:  # who is dead already is not there to be followed
            alive = ~(found["died"] <= 0) & ~(found["lost"] <= 0)
            found = found[alive & ~(found["born"] > found["day0"].dt.year)]
            steps["not alive on day 0"] = found
        return steps

    @property
    def _without(self) -> str:
        if self.index == DISCHARGE:
            return "without an inpatient stay that ended"
        return f"without a visit up to {self.index}"

    @property
    def _left_out(self) -> tuple[str, ...]:
        counts = [found["patient"].nunique() for found in self._steps.values()]
        lost = {
            why: before - after
            for why, before, after in zip([*self._steps][1:], counts, counts[1:], strict=False)
        }
        if not (out := sum(lost.values())):
            return ()
        whys = ", ".join(f"{n:,} {why}" for why, n in lost.items() if n)
        return (f"{out:,} of {counts[0]:,} persons are left out: {whys}.",)

    @cached_property
    def people(self) -> pd.DataFrame:
        """Everybody who has a day 0: day0, site, what is known of them, time and event."""
        *_, found = self._steps.values()
        end = found[["end", "lost"]].min(axis=1).clip(lower=0)
        event = (found["died"] <= end + GRACE) & (found["died"] <= FOLLOW)
        died = found["died"].clip(lower=0)
        return found.assign(
            end=end, event=event, time=died.where(event, end.clip(upper=FOLLOW))
        ).reset_index(drop=True)

    def _index(self) -> pd.DataFrame:
        if self.index == DISCHARGE:
            return self.records.ask(
                "SELECT patient, first(last ORDER BY first, last, site) AS day0, "
                "first(site ORDER BY first, last, site) AS site FROM {stays} "
                "WHERE inpatient AND last IS NOT NULL GROUP BY patient ORDER BY patient"
            )
        return self.records.ask(
            "SELECT patient, DATE '{landmark}' AS day0, "
            "last(site ORDER BY first, last, site) FILTER (site IS NOT NULL) AS site "
            "FROM {stays} WHERE first <= DATE '{landmark}' GROUP BY patient ORDER BY patient",
            landmark=self.index,
        )

    def _observed(self, index: pd.DataFrame) -> pd.DataFrame:
        """Return the day on which observation ends, of those who are under it on day 0."""
        import pandas as pd  # noqa: PLC0415

        last = pd.Timestamp(self.until) if self.until else None
        if "periods" in self.records:
            found = self.records.ask(
                "SELECT patient, day0, max(last) AS last FROM {periods} JOIN index USING (patient) "
                "WHERE day0 BETWEEN first AND last GROUP BY ALL ORDER BY patient",
                index[["patient", "day0"]],
            )
            if last is not None:
                found["last"] = found["last"].where(found["last"] <= last, last)
        else:
            if last is None:
                # Not the last end: stays that go on are often given an end far in the future.
                last = self.records.ask("SELECT max(first) AS last FROM {stays}")["last"].iloc[0]
            found = index[["patient", "day0"]].assign(last=last)
        found["end"] = _days(found["last"], found["day0"])
        return found.loc[found["end"] >= 0, ["patient", "end"]]

    def _facts(self, index: pd.DataFrame) -> Mapping[str, Any]:
        people, sites = self.people, self.listed.sites
        age = people["day0"].dt.year - people["born"]
        facts = {
            "sex": people["sex"],
            "age": age.where(age.between(0, AGES)),
            "race": people["race"],
            "drugs": self._drugs(index),
            **self._next(index),
        }
        return {"hospital": self._hospital(), **facts} if sites else facts

    def _hospital(self) -> pd.Series:
        """Return the first hospital that lists the site, by its id or one of its other names."""
        homes = self.listed.homes
        found = self.people["site"].map(homes)
        if "places" in self.records:
            places = self.records.ask("SELECT site, name FROM {places}")
            named = places.assign(home=places["name"].map(homes)).dropna(subset=["home"])
            also = named.drop_duplicates("site").set_index("site")["home"]
            found = found.fillna(self.people["site"].map(also))
        return found.fillna(OTHER)

    def _drugs(self, index: pd.DataFrame) -> pd.Series | float:
        if "drugs" not in self.records:
            return float("nan")
        found = self.records.ask(
            "SELECT patient, count(DISTINCT drug) AS n FROM {drugs} JOIN index USING (patient) "
            "WHERE date_diff('day', date, day0) BETWEEN 0 AND {year} - 1 GROUP BY patient",
            index,
            year=YEAR,
        )
        counted = index["patient"].map(found.set_index("patient")["n"])
        return counted.fillna(0).clip(upper=DRUGS)

    def _next(self, index: pd.DataFrame) -> Mapping[str, pd.Series]:
        """Return whether a stay, and a visit of any kind, began within a month.

        Who was not observed for a month, and had none, has no value; who died had none.
        """
        people = self.people
        found = self.records.ask(
            "SELECT patient, min(first) FILTER (inpatient) AS admitted, min(first) AS seen "
            "FROM {stays} JOIN index USING (patient) WHERE first > day0 GROUP BY patient",
            index,
        )
        found = index.merge(found, on="patient", how="left")
        known = (people["end"] >= MONTH) | (people["event"] & (people["time"] <= MONTH))
        return {
            name: (_days(found[name], found["day0"]) <= MONTH)
            .map({True: "yes", False: "no"})
            .where(lambda answer, known=known: (answer == "yes") | known)
            for name in ("admitted", "seen")
        }

    def _visits(self, index: pd.DataFrame) -> pd.DataFrame:
        """Return a row per day, with the mean of what was measured several times."""
        columns = ", ".join(_mean(name) for name in self.listed.measurements)
        return self._some_at_a_time(
            index,
            "SELECT patient, {day} AS day, {columns} FROM {measures} "
            "JOIN index USING (patient) WHERE {day} > {low} AND {day} <= {high} GROUP BY ALL",
            columns=columns,
        )

    def _codes(self, index: pd.DataFrame) -> pd.DataFrame:
        found = self._some_at_a_time(
            index,
            "SELECT DISTINCT patient, {day} AS day, code FROM {diagnoses} "
            "JOIN index USING (patient) WHERE {day} > {low} AND {day} <= {high}",
        )
        return found.assign(system=self.system)

    def _some_at_a_time(self, index: pd.DataFrame, question: str, **values: object) -> pd.DataFrame:
        """Ask about many persons in parts, as what is summed up of them is in memory meanwhile."""
        import pandas as pd  # noqa: PLC0415

        parts = [
            self.records.ask(question, index[start : start + PERSONS], **NEAR, **values)
            for start in range(0, len(index), PERSONS)
        ]
        return pd.concat(parts, ignore_index=True)

    def _nobody(self) -> str:
        who = (
            "had an inpatient stay that ended"
            if self.index == DISCHARGE
            else f"was seen up to {self.index} and is under observation then"
        )
        return (
            f"Nobody in these records {who}: no record has a day 0. Set index to "
            f"{DISCHARGE!r} or to a date, such as 2015-01-01, that suits them."
        )


def _mean(name: str) -> str:
    text, column = name.replace("'", "''"), name.replace('"', '""')
    return f"avg(value) FILTER (name = '{text}') AS \"{column}\""


def _days(dates: pd.Series, start: pd.Series) -> pd.Series:
    import pandas as pd  # noqa: PLC0415

    return (pd.to_datetime(dates) - pd.to_datetime(start)).dt.days.astype(float)
