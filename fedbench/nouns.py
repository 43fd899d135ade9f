"""Counts beside what they count."""

from __future__ import annotations

__all__ = ["plural"]


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, or with a noun and its verb.

    >>> plural(1, "seed"), plural(3000, "seed"), plural(0, "site has", "sites have")
    ('1 seed', '3,000 seeds', '0 sites have')
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
