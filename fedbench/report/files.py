"""Writing a report's files, each whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

from fedbench.report import html, markdown
from fedbench.report.content import build
from fedbench.results import RunDir, write_json

__all__ = ["write"]


def write(run: RunDir) -> Path:
    """Write ``report.json``, ``report.md`` and ``report.html``; return the last one's path.

    Raises:
        RunError: the run is unfinished.
    """
    report = build(run)
    texts = {"report.md": markdown.render(report), "report.html": html.render(report)}
    write_json(run.path / "report.json", report)
    for name, text in texts.items():
        _whole(run.path / name, text)
    return run.path / "report.html"


def _whole(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
