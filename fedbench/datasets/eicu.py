"""The eICU Collaborative Research Database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedbench.datasets._eicu import Eicu as _Eicu


@dataclass(frozen=True, kw_only=True)
class Eicu(_Eicu):
    """Stays in intensive care units of 208 US hospitals; whoever has access gives the folder.

    Needs the folder ``eicu`` with the tables of version 2.0 (patient, hospital, apacheApsVar,
    diagnosis, vitalAperiodic; vitalPeriodic and lab where they are), as CSV, gzipped or not.

    A record is a unit stay; those of a person are kept together, at the site of her first stay (by
    year of discharge, hospital stay and unit visit). Sites are the regions, "unknown" where the
    database names none; ``hospitals`` lists hospitals that are sites of their own, and then
    ``partition = { name = "natural", merge = true, minimum = … }`` puts the small ones of a region
    together.

    Time is counted in minutes from admission to the unit, as the database does; a table whose
    times lie days after the stays is refused. Of every hour, from a day before the unit to a week
    after, the last believable vital sign or laboratory value is kept, dated by the last minute in
    which there was one; of two in the same minute the larger. Values beyond the bounds of the
    schema are left out, as are those of laboratories that sent another unit than the table says
    (magnesium in mEq/l). What APACHE is reckoned from is known after the first day (``aps_…``, -1
    is missing). Diagnoses are dated when they were entered, each in the systems in which it is
    written ("401.9, I10"), as categories; entries without a code, or with that of a procedure, are
    left out. Rows that are there twice count once, and `data check` tells how many of stays and
    hospitals are. Ages over 89 are 90.

    The tables of events are read in blocks; what stays in memory is about 1 kB for every hour of a
    stay in which something was measured: 2.2 GB for 40,000 stays of two days (23 million rows), so
    about 10 GB for all. ``hours = 4`` keeps the last of every four hours (1.1 GB); windows end
    alike.

    What was charted after death stays, as in any record, and a rule says how often that is: in the
    demo 10 cuff pressures of 4 stays, up to six hours later.

    Who left the hospital alive has the time 365 and no event, unless she left within the first
    day; who left in a way nobody wrote down is followed for no day. How and where patients were
    discharged gives the outcome away and is not read.

    Attributes:
        hospitals: ``hospitalid`` of hospitals that are sites of their own, all others being
            "(other)"; without any, the sites are the regions.
        hours: of every so many hours the last vital signs and laboratory values are kept.
    """

    title: ClassVar[str] = "eICU Collaborative Research Database v2.0"
    licence: ClassVar[str] = (
        "PhysioNet Credentialed Health Data License; records, also derived ones, are not to be "
        "given away"
    )
    citation: ClassVar[str] = (
        "Pollard TJ, Johnson AEW, Raffa JD, Celi LA, Mark RG, Badawi O. The eICU Collaborative "
        "Research Database. Sci Data 2018;5:180178, https://doi.org/10.1038/sdata.2018.178"
    )
    home: ClassVar[str] = "https://physionet.org/content/eicu-crd/2.0/"
    redistributable: ClassVar[bool] = False
    called: ClassVar[str] = "eicu"

    folder: str = "eicu"
