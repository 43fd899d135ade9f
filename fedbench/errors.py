"""What can go wrong, as a tree.

::

    FedbenchError          everything below; catch this to catch them all
    ├── SpecError          a suite or a command asks for something that does not exist
    │   └── Declined       a hospital does not do what a server asks of it
    ├── DataError          records break their schema; names table, row, column and value
    ├── ContractError      a plug-in broke what its kind promises
    ├── RunError           a folder is not a run, or a run is unfinished or was changed
    ├── Unsupported        this combination makes no sense: *skipped*, with the reason
    │   └── Overspent      patients would give away more than was promised to them
    └── Refused            too little data to say anything: *refused*, with the reason

The first four stop what was asked for. The last two are answers: they become the
status of a cell or of a row, and everything else goes on.
"""

from __future__ import annotations

__all__ = [
    "ContractError",
    "DataError",
    "Declined",
    "FedbenchError",
    "Overspent",
    "Refused",
    "RunError",
    "SpecError",
    "Unsupported",
]


class FedbenchError(Exception):
    """Base of every error that fedbench raises on purpose."""


class SpecError(FedbenchError):
    """A suite or a command asks for something that does not exist."""


class Declined(SpecError):
    """A hospital does not do what a server asks; the message knows nothing of its patients."""


class DataError(FedbenchError):
    """Records break their schema; the message names table, row, column and value."""


class ContractError(FedbenchError):
    """A plug-in broke what its kind promises."""


class RunError(FedbenchError):
    """A folder is not a run directory, or the run in it is unfinished or was changed."""


class Unsupported(FedbenchError):
    """A combination makes no sense; the cell or the row is skipped with this reason."""


class Overspent(Unsupported):
    """A release would cost more privacy than there is; the message names the budget."""


class Refused(FedbenchError):
    """There is too little data to say; the row is refused with this reason."""
