"""Health records, and what is publicly known about them."""

from fedbench.data.cohort import (
    TABLES,
    Cohort,
    by_content,
    cohort_from_table,
    looks_of,
    read_cohort,
    write_cohort,
)
from fedbench.data.dataset import Dataset, DataStore, Download
from fedbench.data.schema import (
    MISSING,
    OTHER,
    SHORT,
    Column,
    Feature,
    Outcome,
    Part,
    Role,
    Rule,
    Schema,
    Task,
    Vocabulary,
    Window,
)

__all__ = [
    "MISSING",
    "OTHER",
    "SHORT",
    "TABLES",
    "Cohort",
    "Column",
    "DataStore",
    "Dataset",
    "Download",
    "Feature",
    "Outcome",
    "Part",
    "Role",
    "Rule",
    "Schema",
    "Task",
    "Vocabulary",
    "Window",
    "by_content",
    "cohort_from_table",
    "looks_of",
    "read_cohort",
    "write_cohort",
]
