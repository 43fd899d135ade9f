"""The large tables of MIMIC: one pass over each, and of every hour the last value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedbench.datasets._followed import asked
from fedbench.datasets._mimic_items import FAHRENHEIT, SPEECH, Measured
from fedbench.datasets._reading import Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CHART", "UNIT", "Source", "visits_of"]

BEFORE = 24
"""Hours before admission from which values are read: those of the emergency department."""
SPAN = 1 << 20
"""Hours; more than any stay has."""

VALUES = """
    SELECT CAST(number AS INTEGER) AS number, CAST(place AS UTINYINT) AS place,
        CAST(rank AS UTINYINT) AS rank, CAST(second AS INTEGER) AS second, value
    FROM (
        SELECT number, place, rank, low, high, whole,
            CAST(epoch(CAST(charttime AS TIMESTAMP)) - entered AS BIGINT) AS second, los,
            CASE WHEN fahrenheit THEN round((valuenum - 32) * 5 / 9, 2) ELSE valuenum END AS value
        FROM events JOIN items USING (itemid) JOIN stays ON hadm_id = patient
        WHERE valuenum IS NOT NULL AND charttime IS NOT NULL AND {believed}
    )
    WHERE value BETWEEN low AND high AND (NOT whole OR value = floor(value))
        AND second > -86400 AND second <= round(los * 86400)
"""
UNIT = "(valueuom IS NULL OR trim(valueuom) = '' OR list_contains(units, lower(trim(valueuom))))"
# The speech of someone with a tube cannot be scored ("1.0 ET/Trach", "No Response-ETT").
CHART = "NOT (speech AND value IS NOT NULL AND contains(value, 'ET'))"


@dataclass(frozen=True)
class Source:
    """A table of events, what is read from it, and which rows are believed."""

    table: Table
    measured: Mapping[str, Measured]
    believed: str


def visits_of(origin: str, stays: pd.DataFrame, sources: Sequence[Source]) -> pd.DataFrame:
    """Return the last value of every hour, dated at its end, or at the end of the stay.

    ``stays`` has the columns patient, entered (in seconds) and los (in days).
    """
    import pandas as pd  # noqa: PLC0415

    names = [name for source in sources for name in source.measured]
    numbered = stays[["patient", "entered", "los"]].assign(number=np.arange(len(stays)))
    parts = [
        asked(
            origin,
            VALUES.format(believed=source.believed),
            events=source.table,
            items=_items(source.measured, names),
            stays=numbered,
        )
        for source in sources
    ]
    found = pd.concat(parts, ignore_index=True)
    del parts
    # Later values overwrite earlier ones below. The value itself decides the last ties, so that
    # the order of rows in a file does not.
    order = np.lexsort((found["value"], found["rank"], found["second"]))
    hour = -(-found["second"].to_numpy() // 3_600)
    key = found["number"].to_numpy().astype(np.int64) * SPAN + hour + BEFORE
    keys = np.unique(key)
    values = np.full((len(keys), len(names)), np.nan)
    row = np.searchsorted(keys, key[order])
    values[row, found["place"].to_numpy()[order]] = found["value"].to_numpy()[order]
    number, hour = np.divmod(keys, SPAN)
    day = np.minimum((hour - BEFORE) / 24, stays["los"].to_numpy()[number])
    dated = pd.DataFrame({"patient": stays["patient"].to_numpy()[number], "day": day})
    return dated.join(pd.DataFrame(values, columns=names))


def _items(measured: Mapping[str, Measured], names: Sequence[str]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    rows = [
        {
            "itemid": item,
            "place": names.index(name),
            "rank": rank,
            "units": each.units,
            "low": each.column.low,
            "high": each.column.high,
            "whole": each.column.kind == "integer",
            "fahrenheit": item in FAHRENHEIT,
            "speech": item in SPEECH,
        }
        for name, each in measured.items()
        for rank, item in enumerate(each.items)
    ]
    return pd.DataFrame(rows)
