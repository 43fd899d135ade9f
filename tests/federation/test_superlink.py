"""The very same apps on a real SuperLink with two SuperNodes, on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import psutil
import pytest

from fedbench.data import Cohort, write_cohort
from fedbench.federation.inprocess import Trained, train
from fedbench.federation.stopping import Stopping
from fedbench.federation.study import Choice, Study
from fedbench.federation.superlink import write_app
from fedbench.partition import Parts, split_site
from fedbench.seeds import Seeds

PATIENCE = 300.0
"""Seconds until a step on a very busy machine counts as stuck."""

PARTS = {"train": 0.6, "control": 0.2}
SMALL = {"passes": 2, "batch": 64}
GENERATORS = {"copula": Choice("copula"), "tvae": Choice("tvae", SMALL)}


@dataclass
class Loopback:
    """A SuperLink and its SuperNodes on 127.0.0.1, each with a home folder of its own."""

    root: Path
    ports: Iterator[int] = field(default_factory=lambda: free_ports(8))
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End all that was started, what it started, and what detached itself from that."""
        for end in (psutil.Process.terminate, psutil.Process.kill):
            mine = list(self._mine())
            for process in mine:
                with suppress(psutil.NoSuchProcess):
                    end(process)
            psutil.wait_procs(mine, timeout=10)
        for started in self.started.values():
            started.wait()
        assert not list(self._mine())

    def superlink(self) -> str:
        """Start the SuperLink, and return its address once it listens."""
        port = next(self.ports)
        self._start("superlink", "flower-superlink", "--insecure", "--port", str(port))
        self._wait_for("superlink", port)
        return f"127.0.0.1:{port}"

    def supernode(self, site: str, address: str, config: Mapping[str, str]) -> None:
        """Start a hospital's node with its own configuration file."""
        home = self._home(site)
        file = home / "node.toml"
        file.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in config.items()))
        options = ("--insecure", "--superlink", address, "--port", str(next(self.ports)))
        node = ("-m", "fedbench.federation.node")
        self._start(site, Path(sys.executable).name, *node, *options, "--node-config", str(file))

    def submit(self, name: str, address: str, app: Path) -> None:
        """Submit a run."""
        config = f'[superlink.loopback]\naddress = "{address}"\ninsecure = true\n'
        (self._home(name) / "config.toml").write_text(config)
        self._start(name, "flwr", "run", str(app), "loopback", "--stream")

    def follow(self, name: str) -> None:
        """Wait until a run ends."""
        try:
            status = self.started[name].wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{name} did not end in {PATIENCE:.0f} s.\n{self.logs()}")
        if status:
            pytest.fail(self.logs())

    def logs(self) -> str:
        """Return what every process said."""
        return "\n".join(
            f"==> {log.stem} <==\n{log.read_text()}" for log in self.root.glob("*.log")
        )

    def _start(self, name: str, command: str, *options: str) -> subprocess.Popen[bytes]:
        home = self._home(name)
        with (self.root / f"{name}.log").open("wb") as log:
            self.started[name] = subprocess.Popen(
                [tool(command), *options],
                cwd=home,
                env=environment(home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.started[name]

    def _home(self, name: str) -> Path:
        home = self.root / name
        home.mkdir(exist_ok=True)
        return home

    def _wait_for(self, name: str, port: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.started[name].poll() is None:
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        pytest.fail(f"{name} does not listen on port {port}.\n{self.logs()}")

    def _mine(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                home = process.environ().get("FLWR_HOME", "")
            except psutil.Error:
                continue
            if Path(home).parent == self.root:
                yield process


def tool(command: str) -> str:
    """The command that belongs to this very interpreter."""
    return str(Path(sys.executable).parent / command)


def environment(home: Path) -> dict[str, str]:
    """Nothing is looked up, installed, reported or written outside of ``home``."""
    own = {
        "FLWR_HOME": str(home),
        "HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        # SuperLink and SuperNode start further commands by their bare names.
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    }
    return {**os.environ, **own}


def free_ports(count: int) -> Iterator[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    yield from ports


@pytest.fixture(scope="module")
def hospitals(everyone: Cohort) -> Mapping[str, Cohort]:
    patients = np.random.default_rng(8).permutation(everyone.patients)
    return {
        "north": everyone.take(np.sort(patients[:200])),
        "south": everyone.take(np.sort(patients[200:])),
    }


@pytest.fixture(scope="module")
def loopback(
    hospitals: Mapping[str, Cohort], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loopback]:
    """A federation that has worked on every study, all at once: most of the time is waiting."""
    with Loopback(tmp_path_factory.mktemp("loopback")) as loopback:
        address = loopback.superlink()
        for site, cohort in hospitals.items():
            data = loopback.root / "records" / site
            write_cohort(cohort, data)
            config = {"site": site, "data": str(data), "allow": ", ".join(GENERATORS)}
            loopback.supernode(site, address, config)
        for name, generator in GENERATORS.items():
            study = study_of(generator, tuple(hospitals))
            app = write_app(loopback.root / f"app-{name}", study, loopback.root / "out" / name)
            plant_code(app, loopback.root / "planted")
            loopback.submit(name, address, app)
        yield loopback


def plant_code(app: Path, trace: Path) -> None:
    """Let the app bring a client of its own, which leaves a trace when it is as much as read."""
    settings = app / "pyproject.toml"
    ours = tomllib.loads(settings.read_text())["tool"]["flwr"]["app"]["components"]["clientapp"]
    settings.write_text(settings.read_text().replace(ours, "planted:client"))
    (app / "planted.py").write_text(f"client = open({str(trace)!r}, 'x')\n")


def study_of(generator: Choice, sites: Sequence[str]) -> Study:
    return Study(
        generator=generator,
        strategy=Choice("fedavg"),
        sites=tuple(sites),
        rounds=2,
        seed=11,
        path=("pbcseq", "two-hospitals"),
        dataset=Choice("pbcseq"),
        parts=PARTS,
        stopping=Stopping(share=0.2, every=2),
        start="site",
    )


def in_process(study: Study, hospitals: Mapping[str, Cohort]) -> Trained:
    seeds = Seeds(study.seed).child("deal", study.dataset.name)
    parts = Parts(**study.parts)
    return train(
        study,
        {site: split_site(cohort, site, parts, seeds).train for site, cohort in hospitals.items()},
    )


def crossings(columns: Mapping[str, Sequence[Any]]) -> pd.Series:
    """The bytes of every message by who said it when; replies of one round come in any order."""
    table = pd.DataFrame(dict(columns)).set_index(["phase", "round", "site", "way"])
    return table["bytes"].sort_index()


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_a_real_federation_ends_where_the_one_in_process_does(
    name: str, hospitals: Mapping[str, Cohort], loopback: Loopback
) -> None:
    loopback.follow(name)
    out = loopback.root / "out" / name
    assert (out / "history.json").is_file(), loopback.logs()
    expected = in_process(study_of(GENERATORS[name], tuple(hospitals)), hospitals)
    for file, arrays in (("encoder", expected.encoder.counts), ("state", expected.state)):
        with np.load(out / f"{file}.npz") as found:
            assert set(found) == set(arrays)
            for key, array in arrays.items():
                np.testing.assert_allclose(found[key], array, rtol=0, atol=1e-9, err_msg=key)
    judged = expected.judged if any(expected.judged.values()) else None
    assert (out / "judged.json").is_file() == (judged is not None)
    if judged is not None:
        found_judged = pd.DataFrame(json.loads((out / "judged.json").read_text()))
        pd.testing.assert_frame_equal(found_judged, pd.DataFrame(dict(judged)))
    found_ledger = crossings(json.loads((out / "ledger.json").read_text()))
    pd.testing.assert_series_equal(found_ledger, crossings(expected.ledger))
    assert not (loopback.root / "planted").exists(), "A site ran code that the server sent."
    assert not any((loopback.root / site / "apps").exists() for site in hospitals)
