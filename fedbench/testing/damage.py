"""Copies of a cohort that are damaged in one way, by a strength from 0 to 1.

At 0 nothing is changed; more strength damages the same records and further ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import TABLES, Cohort
from fedbench.errors import SpecError
from fedbench.seeds import Rng

__all__ = ["DAMAGES", "Damage", "damaged"]

Damage = Callable[[Cohort, float, Rng], Cohort]
Ints = NDArray[np.int64]

BLANKED = 0.6
"""Share of values that the strongest wrong missingness takes away."""
CHANGED = 0.5
"""Share of patients whom the strongest impossible values are about."""
KEPT = 10
"""Patients whom the strongest mode collapse leaves."""
FACTOR = 2.0
"""By how much the strongest stretching lengthens gaps."""


def damaged(name: str, cohort: Cohort, strength: float, rng: Rng) -> Cohort:
    """Return a damaged copy.

    Raises:
        SpecError: there is no such damage, or the strength is not between 0 and 1.
    """
    if name not in DAMAGES:
        raise SpecError(f"There is no damage {name!r}. There are: {', '.join(DAMAGES)}.")
    if not 0 <= strength <= 1:
        raise SpecError(f"The strength is {strength}; expected a number between 0 and 1.")
    return DAMAGES[name](cohort, strength, rng)


def _checked(cohort: Cohort, **tables: pd.DataFrame) -> Cohort:
    known = {name: getattr(cohort, name) for name in TABLES}
    there = {name: table for name, table in known.items() if len(table.columns) > 1}
    return Cohort.of_tables(cohort.schema, **{**there, **tables})


def _swapped(n: int, strength: float, rng: Rng) -> Ints:
    """Return an order of n things in which a share of them have changed places at random."""
    moves, order = np.flatnonzero(rng.random(n) < strength), np.arange(n)
    order[moves] = moves[np.argsort(rng.random(n)[moves])]
    return order


def _chosen(names: pd.Series, strength: float, rng: Rng) -> pd.Series:
    """Return which rows are of a random share of their patients."""
    everyone = names.unique()
    return names.isin(everyone[rng.random(len(everyone)) < strength])


def shuffled_column(cohort: Cohort, strength: float, rng: Rng) -> Cohort:
    """Give a share of patients each other's first number (or, without any, first column)."""
    columns = [n for n, c in cohort.schema.static.items() if "site" not in c.roles]
    numbers = [n for n in columns if cohort.schema.static[n].kind != "category"]
    name = (numbers or columns)[0]
    order = _swapped(len(cohort), strength, rng)
    values = cohort.static[name].to_numpy()[order]
    return _checked(cohort, static=cohort.static.assign(**{name: values}))


def swapped_labels(cohort: Cohort, strength: float, rng: Rng) -> Cohort:
    """Give a share of patients each other's outcome."""
    order = _swapped(len(cohort), strength, rng)
    ends = cohort.outcome.iloc[order].reset_index(drop=True)
    return _checked(cohort, outcome=ends.assign(patient=cohort.outcome["patient"]))


def broken_correlation(cohort: Cohort, strength: float, rng: Rng) -> Cohort:
    """Give a share of patients each other's values, in every column with another patient."""
    static = cohort.static.copy()
    for name in [n for n, c in cohort.schema.static.items() if "site" not in c.roles]:
        static[name] = static[name].to_numpy()[_swapped(len(static), strength, rng)]
    visits = cohort.visits.copy()
    for name in cohort.schema.visits:
        values = visits[name].to_numpy(copy=True)
        there = np.flatnonzero(visits[name].notna())
        values[there] = values[there][_swapped(len(there), strength, rng)]
        visits[name] = values
    return _checked(cohort, static=static, visits=visits)


def wrong_order(cohort: Cohort, strength: float, rng: Rng) -> Cohort:
    """Put what was measured at the visits of a share of patients in a random order."""
    visits = cohort.visits
    mine = _chosen(visits["patient"], strength, rng).to_numpy()
    order, chance = np.arange(len(visits)), rng.random(len(visits))
    who = pd.factorize(visits["patient"])[0]
    order[mine] = np.lexsort((chance, who))[mine]
    columns = list(cohort.schema.visits)
    return _checked(
        cohort, visits=visits.assign(**{c: visits[c].to_numpy()[order] for c in columns})
    )


def stretched_gaps(cohort: Cohort, strength: float, rng: Rng) -> Cohort:  # noqa: ARG001  (as others)
    """Lengthen all gaps between visits; the first visit stays where it is."""
    first = cohort.visits.groupby("patient")["day"].transform("min")
    day = first + (cohort.visits["day"] - first) * (1 + (FACTOR - 1) * strength)
    return _checked(cohort, visits=cohort.visits.assign(day=day))


def dropped_rare_codes(cohort: Cohort, strength: float, rng: Rng) -> Cohort:  # noqa: ARG001
    """Drop a share of all codes, the rarest first."""
    codes = cohort.codes["system"] + ":" + cohort.codes["code"]
    by_rarity = codes.value_counts().sort_values(kind="stable").index
    gone = by_rarity[: round(strength * len(by_rarity))]
    return _checked(cohort, codes=cohort.codes[~codes.isin(gone)].reset_index(drop=True))


def mode_collapse(cohort: Cohort, strength: float, rng: Rng) -> Cohort:
    """Write ever fewer patients, down to ten, ever more often."""
    n = len(cohort)
    kept = round(n * (min(KEPT, n) / n) ** strength)
    order, chance = rng.permutation(n), rng.random(n)
    return _copies(cohort, order[np.arange(n) if kept == n else (chance * kept).astype(np.int64)])


def wrong_missingness(cohort: Cohort, strength: float, rng: Rng) -> Cohort:
    """Take a share of all values measured at visits away."""
    visits = cohort.visits.copy()
    for name in cohort.schema.visits:
        visits[name] = visits[name].mask(rng.random(len(visits)) < BLANKED * strength)
    return _checked(cohort, visits=visits)


def impossible_values(cohort: Cohort, strength: float, rng: Rng) -> Cohort:
    """Date the last visit of a share of patients after the end of their follow-up."""
    visits = cohort.visits.copy()
    last = ~visits.duplicated("patient", keep="last")
    mine = _chosen(visits["patient"], CHANGED * strength, rng)
    end = visits["patient"].map(cohort.outcome.set_index("patient")["time"])
    late = last & mine
    visits.loc[late, "day"] = end[late] + 1
    return _checked(cohort, visits=visits)


def missing_site(cohort: Cohort, strength: float, rng: Rng) -> Cohort:
    """Leave out a share of the patients of the largest hospital.

    Raises:
        SpecError: the records name no hospital.
    """
    sites = cohort.sites
    if sites is None:
        raise SpecError("A site can only be missing from records that name sites.")
    names, counts = np.unique(sites.astype(str), return_counts=True)
    gone = (sites == names[counts.argmax()]) & (rng.random(len(cohort)) < strength)
    return cohort.take(cohort.patients[~gone])


def _copies(cohort: Cohort, chosen: Ints) -> Cohort:
    """Return these patients, each as often as she is chosen, under new names."""
    width = len(str(len(chosen)))
    names = pd.DataFrame(
        {
            "old": cohort.patients[chosen],
            "new": np.array([f"s{i:0{width}d}" for i in range(len(chosen))], dtype=object),
        }
    )

    def under(table: pd.DataFrame) -> pd.DataFrame:
        found = names.merge(table, left_on="old", right_on="patient", how="inner")
        return found.assign(patient=found["new"]).drop(columns=["old", "new"])

    tables = [under(getattr(cohort, name)) for name in TABLES]
    return _checked(Cohort(cohort.schema, *tables))


DAMAGES: Mapping[str, Damage] = {
    "shuffled column": shuffled_column,
    "swapped labels": swapped_labels,
    "broken correlation": broken_correlation,
    "wrong visit order": wrong_order,
    "stretched gaps": stretched_gaps,
    "dropped rare codes": dropped_rare_codes,
    "mode collapse": mode_collapse,
    "wrong missingness": wrong_missingness,
    "impossible values": impossible_values,
    "missing site": missing_site,
}
"""By name."""
