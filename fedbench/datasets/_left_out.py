"""What in a table cannot be: refused, or left out and told with its count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from fedbench.datasets._reading import Table, ask
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CONTENT", "alike", "contents", "orphans", "repeated", "strange"]

CONTENT = """
    SELECT key, count(*) AS n, min(content) = max(content) AS alike FROM {rows}
    WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1 ORDER BY alike, key
"""
"""The keys that are there more than once, and whether their rows, of a key and a content, agree."""

ROWS = "(SELECT {key} AS key, {content} AS content FROM rows)"


def repeated(
    table: Table, column: str, key: str = "", answer: Callable[..., pd.DataFrame] = ask
) -> Iterator[str]:
    """Say how many rows are there more than once, alike in every column that is read.

    Args:
        table: is to have one row of each.
        column: says of which.
        key: SQL for how it is compared. Default: as it is written.
        answer: asks in SQL about tables.

    Raises:
        DataError: rows of one key are not alike.
    """
    rows = ROWS.format(key=key or column, content=contents(table.columns))
    return alike(table.origin, column, answer(CONTENT.format(rows=rows), rows=table))


def contents(columns: Iterable[str]) -> str:
    """Return SQL for a number that rows share only if they are alike."""
    return f"hash({', '.join(columns)})"


def alike(origin: str, column: str, found: pd.DataFrame) -> Iterator[str]:
    """Say how many rows are there more than once; ``found`` is what CONTENT answers.

    Raises:
        DataError: rows of one key are not alike.
    """
    differ = found[~found["alike"].astype(bool)]
    if len(differ):
        more = f"; so it is with {len(differ) - 1:,} more" if len(differ) > 1 else ""
        raise DataError(
            f"{origin}: {column} {differ['key'].iloc[0]!r} is there more than once "
            f"({differ['n'].iloc[0]:,} rows that are not alike{more}); expected one row of each. "
            "Remove the others."
        )
    if extra := int((found["n"] - 1).sum()):
        yield (
            f"{origin}: {_rows(extra)} too many, alike in every column that is read "
            f"({column} {found['key'].iloc[0]!r} is there {found['n'].iloc[0]:,} times); each "
            "counts once."
        )


def strange(
    table: Table, column: str, values: pd.Series, fits: pd.Series, so: str
) -> Iterator[str]:
    """Say how many values are there that cannot be, and what was made of them."""
    wrong = values.notna() & ~fits
    if wrong.any():
        yield (
            f"{table.origin}: {column!r} is {_told(values[wrong].iloc[0])} in "
            f"{_rows(int(wrong.sum()), 'such ')}; {so}."
        )


def orphans(table: Table, column: str, values: pd.Series, others: str, so: str) -> Iterator[str]:
    """Say of how many rows the table ``others`` knows nothing; ``values`` are those of them."""
    known = values.dropna()
    if len(known):
        yield (
            f"{table.origin}: {_rows(len(known))} with a {column} that is not in {others}, the "
            f"first {known.iloc[0]!r}; {so}."
        )


def _rows(count: int, which: str = "") -> str:
    return f"{count:,} {which}row{'s' * (count != 1)}"


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
