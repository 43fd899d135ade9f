"""Writing a report's files, each whole or absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fedbench.report import comparison, html, markdown
from fedbench.report.content import build
from fedbench.results import RunDir, write_json

__all__ = ["write", "write_comparison"]


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


def write_comparison(found: dict[str, Any], out: Path) -> Path:
    """Write ``compare.json``, ``compare.md`` and ``compare.xml`` (JUnit); return the second's path.

    Args:
        found: what ``fedbench.compare.plain`` gives.
        out: where; made if it is not there.
    """
    write_json(out / "compare.json", found)
    _whole(out / "compare.xml", comparison.junit(found))
    _whole(out / "compare.md", comparison.markdown(found))
    return out / "compare.md"


def _whole(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
