"""The same apps on Flower's SuperLink and SuperNodes, one machine per hospital."""

from __future__ import annotations

import json
from pathlib import Path

from fedbench.federation.study import Study

__all__ = ["write_app"]

# No dependencies are named: a hospital runs what it has installed, and nothing is fetched.
APP = """\
[project]
name = "fedbench"
version = "1.0.0"
description = "A fedbench study; it names the installed apps and brings no code"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "fedbench"

[tool.flwr.app.components]
serverapp = "fedbench.federation.server:server"
clientapp = "fedbench.federation.client:client"

[tool.flwr.app.config]
study = {study}
out = {out}
"""


def write_app(folder: Path, study: Study, out: Path) -> Path:
    """Write the folder that ``flwr run`` submits to a SuperLink, and return it.

    Args:
        folder: where the app goes; made if it is not there.
        study: what the hospitals are asked to do.
        out: the folder on the server's machine in which the result is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"study": study.to_json(), "out": str(out.absolute())}
    (folder / "pyproject.toml").write_text(
        APP.format(**{name: _quoted(text) for name, text in settings.items()}), encoding="utf-8"
    )
    return folder


def _quoted(text: str) -> str:
    """Return text as a TOML string, which JSON's are."""
    return json.dumps(text, ensure_ascii=False)
