"""Patient summaries: the visits and codes of a patient as one row, and back again."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fedbench.data import Cohort, Feature, Part, Schema, Window

__all__ = ["cohort_from_table", "last_values", "patient_table"]


def patient_table(cohort: Cohort) -> pd.DataFrame:
    """Return one row per patient, in the order of ``cohort.patients``."""
    schema = cohort.schema
    patients = pd.Index(cohort.patients, name="patient")
    columns: dict[str, pd.Series] = {}
    static = cohort.static.set_index("patient")
    for feature in schema.features:
        if feature.part is Part.STATIC:
            columns[feature.name] = static[feature.source]
    for window in schema.windows:
        columns |= _visits_in(cohort, window, patients)
        columns |= _codes_in(cohort, window, patients)
    if schema.outcome:
        ends = cohort.outcome.set_index("patient").reindex(patients)
        columns["event"] = ends["event"].map({0: "no", 1: "yes"})
        columns["time"] = ends["time"]
    return pd.DataFrame(
        {feature.name: _typed(columns[feature.name], feature) for feature in schema.features},
        index=patients,
    )


def last_values(visits: pd.DataFrame, start: float, end: float) -> pd.DataFrame:
    """Return each patient's last measured values with ``start`` < day <= ``end``.

    The index is the patient; ``day`` is the day of the last visit.
    """
    within = visits[(visits["day"] > start) & (visits["day"] <= end)]
    return within.sort_values(["patient", "day"], kind="stable").groupby("patient").last()


def cohort_from_table(schema: Schema, table: pd.DataFrame) -> Cohort:
    """Write a patient table back as a cohort.

    A visit exists in a window where its day is given, and carries all values of that window;
    values without a day have nowhere to be written. A code is dated at the end of its window,
    a patient summary does not know more.
    """
    patients = table.index.to_numpy(dtype=object)
    columns: dict[str, object] = {"patient": patients}
    for feature in schema.features:
        if feature.part is Part.STATIC:
            columns[feature.source] = table[feature.name].to_numpy(dtype=object)
    # Someone synthetic lives nowhere and belongs to nobody.
    if schema.site:
        columns[schema.site] = None
    if schema.cluster:
        columns[schema.cluster] = patients
    static = pd.DataFrame(columns)
    visits = [_visits_of(schema, window, table) for window in schema.windows]
    codes = [
        pd.DataFrame(
            {
                "patient": patients[(table[feature.name] == "yes").to_numpy()],
                "day": float(feature.window.end),
                "system": feature.system,
                "code": feature.source,
            }
        )
        for feature in schema.features
        if feature.part is Part.CODES and feature.window
    ]
    outcome = (
        pd.DataFrame(
            {
                "patient": patients,
                "time": table["time"].to_numpy(),
                "event": (table["event"] == "yes").to_numpy().astype(np.int64),
            }
        )
        if schema.outcome
        else None
    )
    return Cohort.of_tables(schema, static, _stacked(visits), _stacked(codes), outcome)


def _visits_in(cohort: Cohort, window: Window, patients: pd.Index) -> dict[str, pd.Series]:
    if not cohort.schema.visits:
        return {}
    last = last_values(cohort.visits, window.start, window.end).reindex(patients)
    return {f"{name}@{window.name}": last[name] for name in ("day", *cohort.schema.visits)}


def _codes_in(cohort: Cohort, window: Window, patients: pd.Index) -> dict[str, pd.Series]:
    codes = cohort.codes
    within = codes[(codes["day"] > window.start) & (codes["day"] <= window.end)]
    found = {}
    for system, vocabulary in cohort.schema.vocabularies.items():
        mine = within[within["system"] == system]
        for code in vocabulary.features:
            have = patients.isin(mine.loc[mine["code"] == code, "patient"])
            name = cohort.schema.recorded(system, code, window)
            found[name] = pd.Series(np.where(have, "yes", "no"), index=patients)
    return found


def _visits_of(schema: Schema, window: Window, table: pd.DataFrame) -> pd.DataFrame:
    if not schema.visits:
        return pd.DataFrame({"patient": []})
    day = table[f"day@{window.name}"].to_numpy(dtype=float)
    there = np.isfinite(day)
    values = {
        name: table[f"{name}@{window.name}"].to_numpy(dtype=object)[there] for name in schema.visits
    }
    return pd.DataFrame(
        {"patient": table.index.to_numpy(dtype=object)[there], "day": day[there]} | values
    )


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame | None:
    full = [table for table in tables if len(table)]
    return pd.concat(full, ignore_index=True) if full else None


def _typed(values: pd.Series, feature: Feature) -> pd.Series:
    if feature.column.kind == "category":
        return values.astype(pd.CategoricalDtype(list(feature.column.levels)))
    return values.astype(np.float64)
