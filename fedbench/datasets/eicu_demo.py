"""The open demo of the eICU Collaborative Research Database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedbench.data import Download
from fedbench.datasets._eicu import Eicu

FOLDER = "eicu_demo"
PACKED = "eicu-collaborative-research-database-demo-2.0.1.zip"


@dataclass(frozen=True, kw_only=True)
class EicuDemo(Eicu):
    """2,520 unit stays of 1,841 people in four regions of the US; ``eicu`` says how they are read.

    Needs the folder ``eicu_demo`` with the demo's tables, or with the one file in which PhysioNet
    packed them. Its 186 hospitals have 10 to 40 stays
    each, which is too few to train on; the sites are the regions.
    """

    title: ClassVar[str] = "eICU Collaborative Research Database Demo v2.0"
    licence: ClassVar[str] = (
        "Open Database License v1.0: name the source, and share derived databases alike"
    )
    citation: ClassVar[str] = (
        "Johnson A, Pollard T, Badawi O, Raffa J. eICU Collaborative Research Database Demo "
        "v2.0.1. PhysioNet, 2021, https://doi.org/10.13026/4mxk-na84; Pollard TJ, et al. Sci Data "
        "2018;5:180178, https://doi.org/10.1038/sdata.2018.178"
    )
    home: ClassVar[str] = "https://physionet.org/content/eicu-crd-demo/"
    # PhysioNet lists checksums of what is in it. That of the file is what two public projects pin
    # alike, one of which compared all that is in it with the list.
    downloads: ClassVar[tuple[Download, ...]] = (
        Download(
            url=f"https://physionet.org/static/published-projects/eicu-crd-demo/{PACKED}",
            path=f"{FOLDER}/{PACKED}",
            sha256="8e33a1094945d6ba07cf613b15b2fe4d98f6b3324601d026e80d445bd5b8b865",
        ),
    )
    called: ClassVar[str] = "eicu_demo"

    folder: str = FOLDER
