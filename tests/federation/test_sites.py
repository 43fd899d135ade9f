"""A hospital's own side: its folder, its configuration, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict

from fedbench.accounting import Accountant
from fedbench.baselines.copula import Copula
from fedbench.config import DatasetChoice, Scenario
from fedbench.data import Cohort, Schema, read_cohort, write_cohort
from fedbench.encoding import summarize
from fedbench.errors import DataError, FedbenchError, SpecError
from fedbench.federation.inprocess import InProcessGrid
from fedbench.federation.server import Federation
from fedbench.federation.sites import Folder, source_of
from fedbench.federation.stopping import Stopping
from fedbench.federation.study import Choice, Study
from fedbench.generator import Local, Phase, Site
from fedbench.seeds import Rng
from fedbench.strategy import Message as Arrays
from fedbench.strategy import Update
from fedbench.world import World

PARTS = {"train": 0.5, "control": 0.2}
NORTH, SOUTH = 2, 3


@dataclass
class Afar(InProcessGrid):
    """Brings a site's exception back as an error, word for word, as a SuperNode does."""

    def _delivered(self, message: Message) -> Message:
        try:
            return super()._delivered(message)
        except Exception as error:  # noqa: BLE001
            return Message(Error(code=1, reason=f"{type(error)}:<'{error}'>"), reply_to=message)


@pytest.fixture
def study(study: Study) -> Study:
    return replace(study, sites=("north", "south"), rounds=1, dataset=Choice("pbcseq"), parts=PARTS)


@pytest.fixture
def folders(sites: Mapping[str, Cohort], tmp_path: Path) -> Mapping[str, Path]:
    for name in ("north", "south"):
        write_cohort(sites[name], tmp_path / name)
    return {name: tmp_path / name for name in ("north", "south")}


@pytest.fixture
def nodes(folders: Mapping[str, Path]) -> dict[int, Context]:
    """Two hospitals, each with the configuration that it wrote itself."""
    return {
        node: Context(
            1, node, {"site": site, "data": str(data), "allow": "copula"}, RecordDict(), {}
        )
        for node, (site, data) in enumerate(folders.items(), start=NORTH)
    }


def conducted(study: Study, nodes: Mapping[int, Context], everyone: Cohort) -> Federation:
    federation = Federation(study, everyone.schema, Afar(nodes))
    federation.conduct()
    return federation


def test_a_hospital_alone_gets_the_split_of_the_federation(
    study: Study, everyone: Cohort, tmp_path: Path
) -> None:
    world = World(
        dataset=DatasetChoice(name="pbcseq", parts=PARTS),
        scenario=Scenario(name="two", partition=Choice("iid", {"sites": 2})),
        seed=study.seed,
        cohort=everyone,
        records=10,
        replicates=1,
    )
    for site, patients in world.partition.patients.items():
        write_cohort(everyone.take(np.random.default_rng(1).permutation(patients)), tmp_path / site)
        alone = Folder(tmp_path / site).train(site, study)
        assert alone.fingerprint == world.splits[site].train.fingerprint


def test_two_hospitals_with_folders_train(
    study: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    federation = conducted(study, nodes, everyone)
    assert federation.state
    weights = pd.DataFrame(federation.history).groupby("site")["weight"].max()
    assert (weights > 0).all()
    assert set(weights.index) == {"north", "south"}


def test_a_folder_is_read_once_per_message(
    study: Study, nodes: dict[int, Context], everyone: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def reading(schema: Schema, folder: Path) -> Cohort:
        read.append(folder)
        return read_cohort(schema, folder)

    monkeypatch.setattr("fedbench.federation.sites.read_cohort", reading)
    federation = conducted(study, nodes, everyone)
    messages = [phase for phase in federation.ledger.columns()["phase"] if phase != "enrol"]
    assert len(read) == len(messages) / 2


def test_records_that_changed_on_disk_are_found_in_the_next_run(
    study: Study, nodes: dict[int, Context], folders: Mapping[str, Path], everyone: Cohort
) -> None:
    before = conducted(study, nodes, everyone)
    cohort = read_cohort(everyone.schema, folders["north"])
    write_cohort(cohort.take(cohort.patients[::2]), folders["north"])
    after = conducted(study, nodes, everyone)
    assert sum(after.history["weight"]) < sum(before.history["weight"])
    assert after.encoder.digest != before.encoder.digest


@pytest.mark.parametrize("listed", ["", "independent", "copula:Copula", "cop ula"])
def test_a_site_refuses_a_generator_it_does_not_list(
    listed: str, study: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    nodes[SOUTH].node_config["allow"] = listed
    with pytest.raises(
        FedbenchError, match=r"generator 'copula'; this site allows .*Change `allow`"
    ):
        conducted(study, nodes, everyone)


def test_a_refused_study_gets_no_counts_either(
    study: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    """Not even of a server that goes on as if nothing had been refused."""
    nodes[NORTH].node_config["allow"] = "independent"
    federation = Federation(study, everyone.schema, Afar(nodes))
    with pytest.raises(FedbenchError, match="this site allows independent"):
        federation.enrol()
    federation.roster = {"north": NORTH}
    with pytest.raises(FedbenchError, match=r"Site 'north' failed: .*this site allows independent"):
        federation.agree()


def test_spaces_in_the_list_do_not_matter(
    study: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    for node in nodes.values():
        node.node_config["allow"] = " tvae , copula "
    assert conducted(study, nodes, everyone).state


@pytest.mark.parametrize("what", ["generator", "strategy", "codec", "dataset"])
def test_a_site_imports_nothing_that_the_server_names(
    what: str,
    study: Study,
    nodes: dict[int, Context],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = tmp_path / "imported"
    (tmp_path / "planted.py").write_text(f"open({str(trace)!r}, 'x')\n")
    monkeypatch.syspath_prepend(tmp_path)
    asked = replace(study, **{what: Choice("planted:Plugin")})  # type: ignore[arg-type]
    grid = Afar(nodes)
    content = RecordDict({"study": ConfigRecord({"json": asked.to_json()})})
    (reply,) = grid.send_and_receive([Message(content, NORTH, "query")])
    assert f"the {what} 'planted:Plugin'; this site allows copula" in str(reply.error.reason)
    assert not trace.exists()


PATIENT = Choice("patient", {"epsilon": 1.0, "delta": 1e-4})


@pytest.fixture
def private(study: Study, nodes: dict[int, Context], tmp_path: Path) -> Study:
    """A study with a promise, and hospitals that can keep it."""
    for node in nodes.values():
        node.node_config["accountant"] = str(tmp_path / "charges")
        node.node_config["allow"] = "copula,tvae"
    return replace(study, privacy=PATIENT)


def ledger(tmp_path: Path, site: str = "north") -> Accountant:
    return Accountant(tmp_path / "charges" / f"{site}.jsonl")


def test_hospitals_keep_a_promise_and_write_down_what_it_cost(
    private: Study, nodes: dict[int, Context], everyone: Cohort, tmp_path: Path
) -> None:
    federation = conducted(private, nodes, everyone)
    for site in private.sites:
        spent = ledger(tmp_path, site).spent(1e-4)
        assert 0.999 < spent.epsilon <= 1.0
        assert federation.privacy()[site]["epsilon"] == spent.epsilon
        assert federation.charges[site] == ledger(tmp_path, site).charges


def test_a_patient_who_leaves_moves_no_other_to_another_part(
    private: Study, folders: Mapping[str, Path], everyone: Cohort
) -> None:
    """What is promised is about folders that differ by one patient."""
    source = Folder(folders["north"])
    whole = read_cohort(everyone.schema, folders["north"])
    before = source.train("north", private)
    counts = summarize(before)
    for who in (0, 7, len(whole) - 1):
        write_cohort(whole.take(np.delete(whole.patients, who)), folders["north"])
        after = source.train("north", private)
        assert set(before.patients) - {whole.patients[who]} == set(after.patients)
        moved = [((counts[name] - n) ** 2).sum() for name, n in summarize(after).items()]
        assert sum(moved) <= len(counts)


@pytest.mark.parametrize("name", ["independent", "copula", "tree", "tvae"])
def test_with_a_promise_nothing_fails_for_want_of_patients(
    name: str, private: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    """Else a server that chooses ``parts`` would hear how many there are, for nothing."""
    for node in nodes.values():
        node.node_config["allow"] = name
    settings = {"passes": 1, "hidden": 4, "latent": 2} if name == "tvae" else {}
    asked = replace(
        private,
        generator=Choice(name, settings),
        parts={"train": 1e-6, "control": 0.2},
        stopping=Stopping() if name == "tvae" else None,
    )
    history = pd.DataFrame(conducted(asked, nodes, everyone).history)
    assert set(history["site"]) == {"north", "south"}


def test_hospitals_train_networks_privately(
    private: Study, nodes: dict[int, Context], everyone: Cohort, tmp_path: Path
) -> None:
    small = Choice("tvae", {"passes": 2, "hidden": 4, "latent": 2})
    assert conducted(replace(private, generator=small), nodes, everyone).state
    assert 0.97 < ledger(tmp_path).spent(1e-4).epsilon <= 1.0


def test_noise_of_a_hospital_is_not_that_of_the_seed(
    private: Study, nodes: dict[int, Context], everyone: Cohort, tmp_path: Path
) -> None:
    """In one process the same study has the same noise; two hospitals' own never repeat."""
    told = []
    for name in ("once", "again"):
        for node in nodes.values():
            node.node_config["accountant"] = str(tmp_path / name)
        told.append(conducted(private, nodes, everyone).counts["north"].sums)
    for name, once in told[0].items():
        assert (once != told[1][name]).any(), name


def test_without_an_accountant_nothing_is_promised(
    private: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    del nodes[SOUTH].node_config["accountant"]
    with pytest.raises(FedbenchError, match="lacks `accountant`"):
        conducted(private, nodes, everyone)


def test_a_training_that_starts_again_is_refused_what_it_has_spent(
    private: Study,
    nodes: dict[int, Context],
    everyone: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("fedbench.federation.sites.os_normals", die)
        with pytest.raises(KeyboardInterrupt):
            conducted(private, nodes, everyone)
    assert [charge.what for charge in ledger(tmp_path).charges] == ["encoder 0"]
    with pytest.raises(FedbenchError, match=r"would spend epsilon 1\.\d+ of the promised 1,"):
        conducted(private, nodes, everyone)
    # Whoever asks anew may; both are on the bill.
    conducted(replace(private, seed=8), nodes, everyone)
    assert ledger(tmp_path).spent(1e-4).epsilon > 1.0


def test_all_trainings_of_a_hospital_add_up_to_what_it_allows(
    private: Study, nodes: dict[int, Context], everyone: Cohort, tmp_path: Path
) -> None:
    for node in nodes.values():
        node.node_config |= {"epsilon": 1.6, "delta": "1e-4"}
    for seed in range(2):
        conducted(replace(private, seed=seed), nodes, everyone)
    with pytest.raises(FedbenchError, match=r"of all trainings .* it allows 1\.6 "):
        conducted(replace(private, seed=2), nodes, everyone)
    assert ledger(tmp_path).spent(1e-4).epsilon <= 1.6
    with pytest.raises(FedbenchError, match="promises no differential privacy"):
        conducted(replace(private, privacy=Choice("none")), nodes, everyone)


@pytest.mark.parametrize(
    "told", [{"epsilon": 1.0}, {"epsilon": "much", "delta": 1e-4}, {"epsilon": -1, "delta": 1e-4}]
)
def test_a_limit_that_is_none_is_named(
    told: dict[str, str | float], private: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    nodes[NORTH].node_config.update(told)
    with pytest.raises(FedbenchError, match=r"configuration has epsilon .* expected both"):
        conducted(private, nodes, everyone)


@pytest.mark.parametrize(
    "choice",
    [
        Choice("patient", {"epsilon": 1.0, "noise": "distributed"}),
        Choice("hospital", {"epsilon": 1.0}),
    ],
)
def test_noise_that_only_a_sum_has_is_refused_where_the_server_sees_more(
    choice: Choice, private: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    with pytest.raises(FedbenchError, match="the server sees what every single site sends"):
        conducted(replace(private, privacy=choice), nodes, everyone)


def test_a_server_that_asks_twice_is_refused(
    private: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    federation = conducted(private, nodes, everyone)
    with pytest.raises(FedbenchError, match="Releasing encoder 0 would spend epsilon"):
        federation.agree()


def test_a_class_runs_where_the_site_lists_exactly_it(
    study: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    name = "fedbench.baselines.copula:Copula"
    for node in nodes.values():
        node.node_config["allow"] = f"copula,{name}"
    assert conducted(replace(study, generator=Choice(name)), nodes, everyone).state


def test_a_folder_that_is_missing_is_named_at_the_site(study: Study, tmp_path: Path) -> None:
    source = source_of({"data": str(tmp_path / "nowhere")})
    with pytest.raises(DataError, match=r"no folder .*nowhere.*Change `data`"):
        source.train("north", study)


@pytest.mark.parametrize("lacking", ["site", "data"])
def test_a_configuration_that_lacks_something_says_what(
    lacking: str, study: Study, nodes: dict[int, Context], everyone: Cohort
) -> None:
    del nodes[NORTH].node_config[lacking]
    with pytest.raises(FedbenchError, match=f"A new site failed: .*lacks `{lacking}`"):
        conducted(study, nodes, everyone)


def test_a_site_that_fails_is_named_and_quotes_no_record(
    study: Study, nodes: dict[int, Context], folders: Mapping[str, Path], everyone: Cohort
) -> None:
    static = pd.read_parquet(folders["south"] / "static.parquet")
    static["sex"] = static["sex"].astype(str).replace("male", "Jane Doe")
    static.to_parquet(folders["south"] / "static.parquet")
    with pytest.raises(DataError, match="Jane Doe"):
        Folder(folders["south"]).train("south", study)
    with pytest.raises(FedbenchError, match=r"Site 'south' failed: .*DataError.*own log") as raised:
        conducted(study, nodes, everyone)
    assert "Jane" not in str(raised.value)


@dataclass(frozen=True, kw_only=True)
class Chatty(Copula):
    """Finds fault with a setting, and says by whose records."""

    def update(self, phase: Phase, message: Arrays, site: Site, local: Local, rng: Rng) -> Update:
        raise SpecError(f"This does not go with {len(site.records)} patients.")


@pytest.mark.parametrize(
    ("parts", "name"),
    [({"train": 1e-6, "control": 0.2}, "copula"), (PARTS, f"{__name__}:Chatty")],
)
def test_what_a_site_learned_from_its_records_stays_in_its_own_log(
    parts: Mapping[str, float],
    name: str,
    study: Study,
    nodes: dict[int, Context],
    everyone: Cohort,
) -> None:
    """Whatever kind of error it is: the server chooses ``parts``, and could ask for one."""
    for node in nodes.values():
        node.node_config["allow"] = name
    heard: list[Message] = []
    asked = replace(study, parts=parts, generator=Choice(name))
    with pytest.raises(FedbenchError, match=r"failed: .*SpecError, about which .* own log"):
        Federation(asked, everyone.schema, Afar(nodes, tap=heard.append)).conduct()
    with pytest.raises(FedbenchError, match="own log says more") as raised:
        Federation(asked, everyone.schema, InProcessGrid(nodes)).conduct()
    assert re.search(r"\d+ patients", str(raised.value.__cause__)), "its own log has all of it"
    assert not re.search(r"\d+ patients", str(raised.value))


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"parts": {"train": 0.9, "control": 0.2}}, "shares of train, control and reference"),
        ({"parts": {"train": 0.5, "controls": 0.2}}, "parts: .*controls"),
        ({"dataset": Choice("pbcsec")}, "no 'pbcsec' in fedbench.datasets"),
        ({"strategy": Choice("fedprox", {"mu": "much"})}, "'mu'"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_in_full(
    wrong: Mapping[str, Any], what: str, study: Study, nodes: dict[int, Context]
) -> None:
    """It is about what was asked, and is found before a record is read."""
    asked = replace(study, **wrong)
    content = RecordDict({"study": ConfigRecord({"json": asked.to_json()})})
    (reply,) = Afar(nodes).send_and_receive([Message(content, NORTH, "query")])
    assert re.search(what, str(reply.error.reason)), reply.error.reason


def test_one_name_is_one_site(study: Study, nodes: dict[int, Context], everyone: Cohort) -> None:
    nodes[SOUTH].node_config["site"] = "north"
    with pytest.raises(SpecError, match="expected each of north, south once"):
        conducted(study, nodes, everyone)
