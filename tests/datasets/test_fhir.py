"""A hospital's own FHIR resources, in bundles, alone, and line by line."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedbench.data import OTHER, Cohort, DataStore
from fedbench.datasets._bundles import _inside
from fedbench.datasets._resources import gathered
from fedbench.datasets.fhir import Fhir
from fedbench.errors import DataError
from fedbench.rules import kept
from fedbench.task import problem
from fedbench.testing import check_dataset

Json = dict[str, Any]

SNOMED, ICD10CM, LOINC = (
    "http://snomed.info/sct",
    "http://hl7.org/fhir/sid/icd-10-cm",
    "http://loinc.org",
)
DIABETES = "44054006"


def made_up() -> list[Json]:
    """Return Ann, discharged on 2020-01-10, Bob, who died, and Eve, who never was in hospital."""
    ann, bob, eve = "urn:uuid:ann", "Patient/bob", "http://there.org/fhir/Patient/eve/_history/2"
    return [
        {
            "resourceType": "Patient", "id": "ann", "gender": "female", "birthDate": "1950",
            "extension": [_race("2054-5")],
        },
        {
            "resourceType": "Patient", "id": "bob", "gender": "male", "birthDate": "1960-05",
            "deceasedDateTime": "2020-04-01T23:30:00-05:00",
            "extension": [_race("2106-3", "1002-5")],
        },
        {"resourceType": "Patient", "id": "eve", "gender": "unknown", "deceasedBoolean": True},
        {"resourceType": "Organization", "id": "h1", "name": "North General",
         "identifier": [{"value": "N-1"}]},
        _visit("e0", ann, "AMB", "2019-12-01", "2019-12-01"),
        _visit("e1", ann, "IMP", "2020-01-01T23:59:00+05:00", "2020-01-10", at="Organization/h1"),
        _visit("e2", ann, "EMER", "2020-01-20", "2020-01-20"),
        _visit("e3", bob, "ACUTE", "2020-03-01", "2020-03-05",
               at="Organization?identifier=x|S-2"),
        _visit("e4", eve, "AMB", "2020-05-01", "2020-05-01"),
        _visit("e5", bob, "IMP", "2020-02-01", "2020-02-02") | {"status": "entered-in-error"},
        _visit("e6", ann, "AMB", "2021-01-09", None),
        _condition(ann, (SNOMED, DIABETES), onsetDateTime="2020-01-01",
                   encounter={"reference": "Encounter/e1"}),
        _condition(ann, (ICD10CM, "I50.9"), (SNOMED, "1"), recordedDate="2020-01-20T00:00:00Z",
                   onsetDateTime="2019"),
        _condition(bob, (SNOMED, "84114007"), onsetPeriod={"start": "2020-02"}),
        _condition(bob, (SNOMED, DIABETES), onsetDateTime="2020-01-01")
        | {"verificationStatus": {"coding": [{"code": "refuted"}]}},
        _condition(bob, (SNOMED, DIABETES), onsetString="long ago"),
        _measured(ann, "2339-0", 5.5, "mmol/L", effectiveDateTime="2020-01-01"),
        _measured(ann, "2339-0", 101, "mg/dL", effectiveInstant="2020-01-01T08:00:00.123Z"),
        _measured(ann, "8310-5", 98.6, "[degF]", effectivePeriod={"end": "2020-01-02"}),
        _measured(ann, "29463-7", 200, "", effectiveDateTime="2020-01-02")
        | {"valueQuantity": {"value": 200, "unit": "lbs"}},
        _measured(ann, "2160-0", 1, "ug/L", effectiveDateTime="2020-01-02"),
        _measured(ann, "8867-4", 900, "/min", effectiveDateTime="2020-01-02"),
        _measured(ann, "8867-4", 90, "/min"),
        _measured(bob, "8867-4", 80, "/min", effectiveDateTime="2020-03-05")
        | {"status": "cancelled"},
        _measured(ann, "9279-1", 1, "", effectiveDateTime="2020-01-02")
        | {"valueQuantity": None, "valueInteger": 16},
        _measured(ann, "72166-2", 1, "", effectiveDateTime="2020-01-02")
        | {"valueQuantity": None, "valueCodeableConcept": {"text": "Never smoker"}},
        {
            "resourceType": "Observation", "id": "bp", "status": "final",
            "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
            "subject": {"reference": bob}, "effectiveDateTime": "2020-03-05",
            "component": [_part("8480-6", 120), _part("8462-4", 80)],
        },
        {"resourceType": "Observation", "id": "tap", "status": "final",
         "subject": {"reference": "Location/ward"}, "code": {"coding": []}},
        _order(ann, "2019-12-31", medicationCodeableConcept={"coding": [{"code": "1"}]}),
        _order(ann, "2019-12-30", medicationCodeableConcept={"coding": [{"code": "1"}]}),
        _order(ann, "2020-01-10", medicationReference={"reference": "Medication/2"}),
        _order(ann, "2020-01-11", medicationReference={"reference": "Medication/3"}),
        {"resourceType": "Claim", "id": "c", "patient": "whoever"},
    ]  # fmt: skip


def _race(*codes: str) -> Json:
    told = [{"url": "ombCategory", "valueCoding": {"code": code}} for code in codes]
    url = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
    return {"url": url, "extension": [*told, {"url": "text", "valueString": "as told"}]}


def _visit(name: str, who: str, kind: str, *when: str | None, at: str = "") -> Json:
    start, end = when
    where = {"serviceProvider": {"reference": at, "display": "a hospital"}} if at else {}
    return {
        "resourceType": "Encounter", "id": name, "status": "finished", "class": {"code": kind},
        "subject": {"reference": who}, "period": {"start": start, "end": end}, **where,
    }  # fmt: skip


def _condition(who: str, *codes: tuple[str, str], **more: Any) -> Json:
    told = [{"system": system, "code": code} for system, code in codes]
    return {
        "resourceType": "Condition", "id": f"c{codes[0][1]}", "subject": {"reference": who},
        "code": {"coding": told}, **more,
    }  # fmt: skip


def _measured(who: str, code: str, value: float, unit: str, **when: Any) -> Json:
    return {
        "resourceType": "Observation", "id": f"o{code}", "status": "final",
        "subject": {"reference": who}, **when, **_part(code, value, unit),
    }  # fmt: skip


def _part(code: str, value: float, unit: str = "mm[Hg]") -> Json:
    return {
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "valueQuantity": {"value": value, "code": unit},
    }


def _order(who: str, on: str, **what: Any) -> Json:
    return {
        "resourceType": "MedicationRequest", "id": on, "status": "active", "intent": "order",
        "subject": {"reference": who}, "authoredOn": on, **what,
    }  # fmt: skip


def bundle(resources: Iterable[Json]) -> Json:
    entries = [{"fullUrl": f"urn:uuid:{each['id']}", "resource": each} for each in resources]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def as_bundle(resources: list[Json], folder: Path) -> None:
    (folder / "all.json").write_text(json.dumps(bundle(resources)), encoding="utf-8-sig")


def as_two_bundles(resources: list[Json], folder: Path) -> None:
    """Everybody is in both, what happened to them in one of the two."""
    (folder / "inner").mkdir()
    people = [each for each in resources if each["resourceType"] == "Patient"]
    parts = {"inner/a.json.gz": resources[::2], "B.JSON.GZ": resources[1::2]}
    for name, part in parts.items():
        text = json.dumps(bundle([*people, *(each for each in part if each not in people)]))
        (folder / name).write_bytes(gzip.compress(text.encode()))


def as_single_files(resources: list[Json], folder: Path) -> None:
    for number, each in enumerate(resources):
        (folder / f"{number}.json").write_text(json.dumps(each))


def as_lines(resources: list[Json], folder: Path) -> None:
    for kind in {each["resourceType"] for each in resources}:
        mine = [json.dumps(each) for each in resources if each["resourceType"] == kind]
        (folder / f"{kind}.ndjson").write_text("\n".join(mine) + "\n\n")


def as_a_bundle_that_names_its_own(resources: list[Json], folder: Path) -> None:
    """The members have no ids, only the addresses by which the others call them."""
    text = json.dumps(bundle(resources))
    for kind, names in {"Patient": ["ann", "bob", "eve"], "Encounter": ["e1"]}.items():
        for name in names:
            text = text.replace(
                f'"resourceType": "{kind}", "id": "{name}"', f'"resourceType": "{kind}"'
            )
            text = text.replace(f'"{kind}/{name}"', f'"urn:uuid:{name}"')
    (folder / "all.json").write_text(text)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Cohort]:
    count = iter(range(100))

    def cohort(
        resources: list[Json], write: Callable[..., None] = as_bundle, **settings: Any
    ) -> Cohort:
        folder = tmp_path / f"fhir{next(count)}"
        folder.mkdir()
        (folder / "LICENSE").write_text("not a resource")
        write(resources, folder)
        return Fhir(folder=str(folder), **settings).load(DataStore())

    return cohort


@pytest.fixture(scope="module")
def store() -> DataStore:
    store = DataStore.default()
    try:
        store.folder("synthea_fhir_r4")
    except DataError:
        pytest.skip("Set FEDBENCH_DATA to a folder with synthea_fhir_r4.")
    return store


def test_every_cell_is_where_it_belongs(read: Callable[..., Cohort]) -> None:
    cohort = read(made_up())
    static = cohort.static.set_index("patient")
    assert list(static.index) == ["ann", "bob"]
    assert list(static["sex"]) == ["female", "male"]
    assert static["age"].tolist() == [70, 60]
    assert list(static["race"]) == ["black", OTHER]
    assert static["drugs"].tolist() == [2, 0]
    assert static["admitted"].tolist() == ["no", "no"]
    assert static["seen"].tolist() == ["yes", "no"]
    # The last visit began on 2021-01-09; Bob died on a day in his own time zone.
    assert cohort.outcome["time"].tolist() == [365, 27]
    assert cohort.outcome["event"].tolist() == [0, 1]
    codes = [tuple(row) for row in cohort.codes.itertuples(index=False)]
    assert codes == [
        ("ann", 0.0, "snomed", DIABETES),  # known when the encounter ended
        ("ann", 10.0, "snomed", OTHER),  # known when it was recorded
        ("bob", -5.0, "snomed", "84114007"),  # some day in February, the 29th at last
    ]
    visits = cohort.visits.set_index(["patient", "day"])
    assert visits.index.tolist() == [("ann", -9), ("ann", -8), ("bob", 0)]
    assert visits.loc[("ann", -9), "glucose"] == pytest.approx((5.5 * 18.016 + 101) / 2)
    assert visits.loc[("ann", -8), "temperature"] == pytest.approx(37)
    assert visits.loc[("ann", -8), "weight"] == pytest.approx(90.718474)
    assert visits.loc[("ann", -8), "respiration"] == 16
    assert list(visits.loc[("bob", 0), ["sbp", "dbp"]]) == [120, 80]
    assert visits.notna().to_numpy().sum() == 6


@pytest.mark.parametrize(
    "write", [as_two_bundles, as_single_files, as_lines, as_a_bundle_that_names_its_own]
)
def test_the_form_of_the_files_makes_no_difference(
    read: Callable[..., Cohort], write: Callable[..., None]
) -> None:
    assert read(made_up(), write).fingerprint == read(made_up()).fingerprint


def test_a_date_can_be_day_0(read: Callable[..., Cohort]) -> None:
    cohort = read(made_up(), index="2020-03-10")
    assert list(cohort.patients) == ["ann", "bob"]
    later = read(made_up(), index="2020-06-01")
    assert list(later.patients) == ["ann"]  # Bob has died, and so has Eve, nobody knows when
    gone = read(made_up(), index="2020-04-30", until="2022-01-01")
    assert gone.outcome["time"].tolist() == [611]


def test_icd_codes_are_told_by_category(read: Callable[..., Cohort]) -> None:
    codes = read(made_up(), system="icd10cm", foresee=()).codes
    assert codes["code"].tolist() == [OTHER, "I50", OTHER]


def test_persons_live_where_they_were(read: Callable[..., Cohort], tmp_path: Path) -> None:
    listed = tmp_path / "mine.toml"
    for north, south in (("North General", "S-2"), ("h1", "a hospital"), ("N-1", "S-2")):
        listed.write_text(f'[sites]\nnorth = ["{north}"]\nsouth = ["{south}"]\n')
        sites = read(made_up(), catalogue=str(listed)).sites
        assert sites is not None
        assert sites[0] == "north"
        assert sites[1] == "south"


def _changed(index: int, **values: Any) -> Callable[[list[Json]], None]:
    def change(resources: list[Json]) -> None:
        resources[index].update(values)

    return change


ANN, VISIT, CONDITION, GLUCOSE = 0, 5, 11, 16


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_changed(ANN, gender="F"), "Patient/ann: 'gender' is 'F'; expected male, female"),
        (_changed(ANN, gender=1), "'gender' is 1; expected text"),
        (_changed(ANN, birthDate="1950-02-30"), "'birthDate' is '1950-02-30'; expected a date"),
        (_changed(ANN, birthDate="01.02.1950"), "expected a date"),
        (_changed(ANN, deceasedBoolean="no"), "'deceasedBoolean' is 'no'"),
        (_changed(ANN, extension={}), "'extension' is an object; expected a list"),
        (_changed(VISIT, subject=None), "Encounter/e1: it has no 'subject'"),
        (_changed(VISIT, subject="ann"), "Encounter/e1: found 'ann'; expected an object"),
        (_changed(VISIT, subject={"reference": "Patient/zoe"}), "is about Patient/zoe"),
        (_changed(VISIT, **{"class": [{"coding": []}]}), "Encounter/e1: found a list"),
        (_changed(VISIT, **{"class": None}), "Encounter/e1: it has no 'class'"),
        (_changed(VISIT, period={"start": "2020-13"}), "'period.start' is '2020-13'"),
        (_changed(CONDITION, code={"coding": {"code": "1"}}), "'code.coding' is an object"),
        (_changed(GLUCOSE, valueQuantity={"value": "5.5"}), "its value is '5.5'"),
        (_changed(GLUCOSE, component=[1]), "'component[0]' is 1; expected an object"),
        (_changed(GLUCOSE, resourceType=None), "has no resourceType"),
    ],
)  # fmt: skip
def test_a_resource_that_does_not_fit_is_named(
    read: Callable[..., Cohort], change: Callable[[list[Json]], None], said: str
) -> None:
    resources = made_up()
    change(resources)
    with pytest.raises(DataError, match=r"all\.json") as caught:
        read(resources)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"", "a.json is not JSON"),
        ("a.json", b'{"resourceType": "Patient"}', "Patient/(no id): it has no id"),
        ("a.json", b'{"resourceType": "Bundle", "entry": [', "a.json is not JSON"),
        ("a.json", b"[1]", "found a list; expected a FHIR R4 resource"),
        ("a.json", b'{"name": "a package"}', "found an object; expected a FHIR R4 resource"),
        ("a.json", b'{"resourceType": "Bundle", "entry": {}}', "'entry' is an object"),
        (
            "a.json",
            b'{"resourceType": "Bundle", "entry": [{"resource": 1}]}',
            "found 1; expected an object",
        ),
        ("a.json", b'{"resourceType": "Patient", "id": NaN}', "NaN is no number"),
        ("a.json", b"[" * 100_000, "a.json is not JSON"),
        ("a.json", b'{"a": "\xff"}', "a.json is not JSON"),
        ("a.json", b'{"resourceType": "Patient", "id": "\\ud800"}', "a.json is not JSON"),
        ("a.json.gz", b"no gzip", "a.json.gz is damaged"),
        ("a.json.gz", gzip.compress(b"{}" * 1000, mtime=0)[:20], "a.json.gz is damaged"),
        ("a.ndjson", b'{"resourceType": "Claim"}\n{"resource', "a.ndjson line 2 is not JSON"),
        ("a.json", b'{"resourceType": "Bundle"}', "no resource Patient in any file"),
        ("a.json", b" " * ((64 << 20) + 1), "more than 64 MB"),
        ("a.txt", b"", "There is no file .json"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        Fhir(folder=str(tmp_path)).load(DataStore())
    assert said in str(caught.value)


def _places(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(found, list):
        found = dict(enumerate(found))
    for key, value in found.items() if isinstance(found, dict) else ():
        yield (*path, key)
        yield from _places(value, (*path, key))


def test_whatever_is_wrong_is_told_and_nothing_breaks() -> None:
    rng, whole = np.random.default_rng(0), json.dumps(bundle(made_up()))
    places, dataset, told = list(_places(json.loads(whole))), Fhir(), 0
    junk: list[Any] = [
        None,
        1,
        True,
        "",
        [],
        {},
        [[]],
        [None],
        "x",
        10**30,
        "9999-12-31",
        "0000",
        0.5,
    ]
    for _ in range(600):
        *path, last = places[rng.integers(len(places))]
        content = json.loads(whole)
        reduce(lambda at, key: at[key], path, content)[last] = junk[rng.integers(len(junk))]
        try:
            gathered("", _inside("all.json", content), dataset.listed, "snomed")
        except DataError as error:
            assert str(error).startswith(("all.json", "There is no resource Patient"))  # noqa: PT017
            told += 1
    assert 100 < told < 500


def test_files_may_not_contradict_each_other(read: Callable[..., Cohort]) -> None:
    other: Mapping[str, Any] = {**made_up()[ANN], "gender": "male"}
    with pytest.raises(DataError, match="Patient/ann: another file says other things"):
        read([*made_up(), dict(other)])


def test_nothing_after_day_0_can_be_foreseen_from(read: Callable[..., Cohort]) -> None:
    before, resources = read(made_up()), copy.deepcopy(made_up())
    resources = [each for each in resources if each["id"] not in {"e2", "cI50.9", "2020-01-11"}]
    resources += [
        _measured("Patient/ann", "2339-0", 400, "mg/dL", effectiveDateTime="2020-01-11"),
        _condition("Patient/ann", (SNOMED, "84114007"), recordedDate="2020-01-11"),
        _visit("e9", "Patient/ann", "IMP", "2020-01-12", "2020-01-19"),
        _order("Patient/bob", "2020-03-06", medicationReference={"reference": "Medication/2"}),
    ]
    after = read(resources)
    assert after.fingerprint != before.fingerprint
    for task in before.schema.tasks.values():
        old, new = (problem(cohort, task).predictors for cohort in (before, after))
        both = old.index.intersection(new.index)
        pd.testing.assert_frame_equal(old.loc[both], new.loc[both], check_exact=True)


def test_real_records_are_counted_right(store: DataStore) -> None:
    dataset = Fhir(folder="synthea_fhir_r4", index="2015-01-01")
    cohort = check_dataset(dataset, store)
    found = [
        entry["resource"]
        for path in store.folder("synthea_fhir_r4").glob("*.json.gz")
        for entry in json.loads(gzip.decompress(path.read_bytes()))["entry"]
    ]
    visits = [each for each in found if each["resourceType"] == "Encounter"]
    assert [sum(each["resourceType"] == kind for each in found) for kind in (
        "Patient", "Encounter", "Condition", "Observation", "MedicationRequest", "Organization"
    )] == [14, 87, 37, 592, 20, 15]  # fmt: skip
    seen = {v["subject"]["reference"] for v in visits if v["period"]["start"][:10] <= "2015-01-01"}
    assert {f"urn:uuid:{patient}" for patient in cohort.patients} == seen
    assert len(cohort) == 13
    start, end = pd.Timestamp("2015-01-01"), pd.Timedelta(days=1825)
    heights = [
        each for each in found
        if each["resourceType"] == "Observation" and each["code"]["coding"][0]["code"] == "8302-2"
        and each["subject"]["reference"] in seen
        and -end < pd.Timestamp(each["effectiveDateTime"][:10]) - start <= end
    ]  # fmt: skip
    assert cohort.visits["height"].notna().sum() == len(heights)
    assert sorted(cohort.visits["height"].dropna()) == pytest.approx(
        sorted(each["valueQuantity"]["value"] for each in heights)
    )
    assert not any(kept(cohort, rule).broken.any() for rule in cohort.schema.rules)
    assert len(Fhir(folder="synthea_fhir_r4").load(store)) == 1  # one was an inpatient
