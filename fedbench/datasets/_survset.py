"""What the data sets out of the SurvSet package have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedbench.datasets._reading import FromFolder

__all__ = ["Unpacked"]


@dataclass(frozen=True, kw_only=True)
class Unpacked(FromFolder):
    """A table of SurvSet, unpacked to CSV by ``tools/unpack_survset.py``.

    Attributes:
        folder: its name in the data folder, or an absolute path.
    """

    home: ClassVar[str] = "https://github.com/ErikinBC/SurvSet"
    made: ClassVar[str] = (
        "tools/unpack_survset.py in the repository of fedbench writes them from SurvSet 0.2.11."
    )
    redistributable: ClassVar[bool] = False

    folder: str = "survset"

    def lacking(self, folder: Path) -> Sequence[str]:
        return [f"{sentence} {self.made}" for sentence in super().lacking(folder)]
