"""Coding systems: how codes are written, what is above them, and how one maps to another.

Systems are called ``icd9cm``, ``icd10cm`` and ``snomed``. Codes are upper case, without a dot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from fedbench.data import OTHER
from fedbench.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SPELLED",
    "System",
    "as_listed",
    "backed_off",
    "categories",
    "category",
    "chapters",
    "spelled",
]

System = Literal["icd9cm", "icd10cm", "snomed"]

SPELLED = frozenset(get_args(System))
"""Systems whose codes may be written with dots and in lower case."""

TABLE = Path(__file__).parent / "datasets" / "tables" / "icd" / "categories.parquet"


def spelled(codes: pd.Series) -> pd.Series:
    """Return codes as they are written here: upper case, without dots and spaces.

    >>> import pandas as pd
    >>> list(spelled(pd.Series([" e11.9", "401.9"])))
    ['E119', '4019']
    """
    return codes.astype("string").str.strip().str.replace(".", "", regex=False).str.upper()


def as_listed(codes: pd.Series, system: str, listed: Collection[str]) -> pd.Series:
    """Return codes as a list spells them; what it does not have stays as it is.

    In a system of ``SPELLED`` dots, case and spaces around tell nothing.

    >>> import pandas as pd
    >>> list(as_listed(pd.Series(["e119", "I10"]), "icd10cm", ["E11.9"]))
    ['E11.9', 'I10']
    """
    import pandas as pd  # noqa: PLC0415

    text = codes.astype("string")
    if system not in SPELLED:
        return text
    known = pd.Series(list(listed), index=spelled(pd.Series(list(listed), dtype="string")))
    found = spelled(text).map(known[~known.index.duplicated()])
    return text.where(text.isin(list(listed)) | found.isna(), found)


def category(codes: pd.Series, system: str) -> pd.Series:
    """Return the category of each code: three characters, four for the E codes of ICD-9-CM.

    A code of another system than the two ICDs is its own category.

    >>> import pandas as pd
    >>> list(category(pd.Series(["4019", "E9503", "V5867"]), "icd9cm"))
    ['401', 'E950', 'V58']
    """
    text = codes.astype("string")
    if system == "icd10cm":
        return text.str[:3]
    if system == "icd9cm":
        return text.str[:3].where(~text.str.startswith("E"), text.str[:4])
    return text


@dataclass(frozen=True)
class _Listed:
    meaning: Mapping[str, str]
    chapter: Mapping[str, str]


@cache
def _listed(system: str) -> _Listed:
    import pandas as pd  # noqa: PLC0415

    table = pd.read_parquet(TABLE)
    mine = table[table["system"] == system].set_index("code")
    if mine.empty:
        known = ", ".join(sorted(set(table["system"])))
        raise SpecError(f"There is no list of categories of {system!r}. There are: {known}.")
    return _Listed(dict(mine["meaning"]), dict(mine["chapter"]))


def categories(system: str) -> Mapping[str, str]:
    """Return the public list of all categories of ``icd9cm`` or ``icd10cm`` with their titles.

    Raises:
        SpecError: there is none of this system.

    >>> categories("icd10cm")["E11"]
    'Type 2 diabetes mellitus'
    """
    return dict(_listed(system).meaning)


def chapters(codes: pd.Series, system: str) -> pd.Series:
    """Return the title of the chapter of each code; missing where its category is not listed.

    >>> import pandas as pd
    >>> list(chapters(pd.Series(["25000"]), "icd9cm"))
    ['Endocrine, Nutritional And Metabolic Diseases, And Immunity Disorders']
    """
    return category(codes, system).map(_listed(system).chapter)


def backed_off(codes: pd.Series, system: str, vocabulary: Mapping[str, str]) -> pd.Series:
    """Return each code if the vocabulary has it, else its category, else ``OTHER``.

    >>> import pandas as pd
    >>> list(backed_off(pd.Series(["E119", "E11", "Z999"]), "icd10cm", {"E11": "diabetes"}))
    ['E11', 'E11', '(other)']
    """
    text, above = codes.astype("string"), category(codes, system)
    return text.where(text.isin(list(vocabulary)), above.where(above.isin(list(vocabulary)), OTHER))
