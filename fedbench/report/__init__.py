"""The report of a run: ``report.json``, and Markdown and HTML rendered from it."""

from __future__ import annotations

from fedbench.report.content import VERSION, build, validate
from fedbench.report.files import write

__all__ = ["VERSION", "build", "validate", "write"]
