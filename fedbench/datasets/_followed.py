"""Persons followed from one day on: what is asked about their records, whatever these look like.

Every source (OMOP tables, FHIR bundles) is brought into the same few tables of dates, see
``Records``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fedbench.data import OTHER, Cohort, Schema
from fedbench.datasets._catalogue import Catalogue
from fedbench.datasets._left_out import CONTENT, alike
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

    ``views`` answers each with these columns; days are dates, the last four may be left out:

    * ``persons``: patient, sex, born (year), race, died, lost (the last day of somebody who died
      nobody knows when)
    * ``stays``: patient, first, last, inpatient, site
    * ``diagnoses``: patient, date (from which it was known), code; may look at ``index``
    * ``measures``: patient, date, name, value
    * ``periods``: patient, first, last (under observation)
    * ``drugs``: patient, date, drug
    * ``places``: site, name (another name of the site)
    * ``visits``: patient, key (one for every stay), content (a number that says what is in a row)

    ``notes`` says what was left out of them already.
    """

    origin: str
    tables: Mapping[str, Table | pd.DataFrame]
    views: Mapping[str, str]
    notes: tuple[str, ...] = ()

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
        raise DataError(_misread(origin, str(error), tables)) from None
    except duckdb.OutOfMemoryException:
        raise DataError(
            f"{origin}: a question about these records needs more than {MEMORY} of memory. "
            "Give the records of fewer persons, or of a shorter time."
        ) from None


def _misread(origin: str, said: str, tables: Mapping[str, Table | pd.DataFrame]) -> str:
    """Say which value of which table is no date or number, as far as the database tells."""
    why = " ".join(said.partition("LINE ")[0].split())
    if value := re.search(r"""["'](.*?)["']""", why):
        for each in tables.values():
            if isinstance(each, Table) and (column := _holding(each, value[1])):
                return f"{each.origin}: {column!r} is {value[1]!r}; expected {_wanted(why)}."
    return f"{origin}: {why}"


def _holding(table: Table, value: str) -> str | None:
    """Return the first column of texts that somewhere begins with the value."""
    from pyarrow import compute  # noqa: PLC0415

    texts = [name for name, kind in table.columns.items() if kind == "text"]
    for rows in table.blocks():
        for name in texts:
            begins = compute.starts_with(compute.utf8_trim_whitespace(rows[name]), value)
            if compute.any(begins).as_py():
                return name
    return None


def _wanted(why: str) -> str:
    if "timestamp" in why.lower():
        return "a time, written 2020-12-31 23:59:00"
    return "a date, written 2020-12-31" if "date" in why.lower() else "a number"


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
        repeated = self._repeated(index)
        followed = people[["patient"]].assign(
            time=people["time"], event=people["event"].astype(int)
        )
        static = pd.DataFrame({"patient": people["patient"], **self._facts(index)})
        cohort = Cohort.of_tables(
            self.schema, static, self._visits(index), self._codes(index), followed
        )
        notes = (*self.records.notes, *repeated, *self._left_out, *self._unborn(), *self._empty())
        return replace(cohort, notes=notes)

    def _repeated(self, index: pd.DataFrame) -> tuple[str, ...]:
        """Say how often stays are there twice, alike.

        Raises:
            DataError: they are not alike.
        """
        if "visits" not in self.records:
            return ()
        rows = "(SELECT key, content FROM {visits} JOIN index USING (patient))"
        found = self._some_at_a_time(index, CONTENT.format(rows=rows))
        return tuple(
            alike(f"{self.records.origin}, visit_occurrence", "visit_occurrence_id", found)
        )

    def _unborn(self) -> Iterator[str]:
        age, born = self._age, self.people["born"]
        wrong = age.notna() & ~age.between(0, AGES)
        if wrong.any():
            yield (
                f"{wrong.sum():,} of {len(age):,} persons were born after day 0, or more than "
                f"{AGES} years before, the first in {born[wrong].iloc[0]:g}: their age is missing."
            )

    def _empty(self) -> Iterator[str]:
        """Name the hospitals at which nobody lives."""
        if self.listed.sites and (empty := sorted({*self.listed.sites} - {*self._hospital})):
            yield (
                f"Nobody lives at {', '.join(map(repr, empty))}, which the catalogue lists: are "
                "the ids or names of its care sites those of the records?"
            )

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

    @property
    def _age(self) -> pd.Series:
        age: pd.Series = self.people["day0"].dt.year - self.people["born"]
        return age

    def _facts(self, index: pd.DataFrame) -> Mapping[str, Any]:
        people, sites = self.people, self.listed.sites
        age = self._age
        facts = {
            "sex": people["sex"],
            "age": age.where(age.between(0, AGES)),
            "race": people["race"],
            "drugs": self._drugs(index),
            **self._next(index),
        }
        return {"hospital": self._hospital, **facts} if sites else facts

    @cached_property
    def _hospital(self) -> pd.Series:
        """The first hospital that lists the site, by its id or one of its other names.

        Raises:
            DataError: none lists any.
        """
        homes = self.listed.homes
        found = self.people["site"].map(homes)
        if "places" in self.records:
            places = self.records.ask("SELECT site, name FROM {places}")
            named = places.assign(home=places["name"].map(homes)).dropna(subset=["home"])
            also = named.drop_duplicates("site").set_index("site")["home"]
            found = found.where(found.notna(), self.people["site"].map(also))
        if found.isna().all():
            there = [*map(repr, sorted(self.people["site"].dropna().unique()))]
            raise DataError(
                f"{self.records.origin}: nobody was at a care site that the catalogue lists under "
                f"'sites', such as {next(iter(homes))!r}; found {', '.join(there[:5]) or 'none'}. "
                "Write their ids or names there, or leave 'sites' out."
            )
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
        if strangers := self._strangers():
            return strangers
        if self.index == DISCHARGE:
            who, other = "had an inpatient stay that ended", "a date, such as 2015-01-01"
        else:
            who = f"was seen up to {self.index} and is under observation then"
            other = f"another date, or {DISCHARGE!r}"
        return (
            f"{self.records.origin}: nobody in these records {who}, which is day 0. For another "
            f"day 0 set index in the [[datasets]] of a suite (name = {self.schema.name!r}, "
            f"folder = …, index = …) to {other}, and look with `fedbench run SUITE --dry-run`."
        )

    def _strangers(self) -> str:
        """Say so if none of those who were seen is among the persons."""
        seen = self.records.ask("SELECT DISTINCT patient FROM {stays} ORDER BY patient")["patient"]
        known = self._steps[""]["patient"]
        if not len(seen) or seen.isin(known).any():
            return ""
        first = repr(known.iloc[0]) if len(known) else "none"
        return (
            f"{self.records.origin}: nobody who was seen is among the persons: of {len(seen):,} "
            f"with a visit the first is {seen.iloc[0]!r}, of {len(known):,} persons {first}. Take "
            "all tables from the same export."
        )


def _mean(name: str) -> str:
    text, column = name.replace("'", "''"), name.replace('"', '""')
    return f"avg(value) FILTER (name = '{text}') AS \"{column}\""


def _days(dates: pd.Series, start: pd.Series) -> pd.Series:
    import pandas as pd  # noqa: PLC0415

    return (pd.to_datetime(dates) - pd.to_datetime(start)).dt.days.astype(float)
