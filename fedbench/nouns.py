"""Counts beside what they count, and lists that end."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["few", "plural"]


def few(said: Sequence[str], most: int = 5) -> str:
    """Return what is said one after the other, and how much more there is after so many.

    >>> few(["'age'", "'sex'"]), few(["a", "b", "c"], most=1)
    ("'age', 'sex'", 'a and 2 more')
    """
    more = f" and {len(said) - most:,} more" if len(said) > most else ""
    return ", ".join(said[:most]) + more


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, or with a noun and its verb.

    >>> plural(1, "seed"), plural(3000, "seed"), plural(0, "site has", "sites have")
    ('1 seed', '3,000 seeds', '0 sites have')
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
