"""Training with somebody listening, for attacks on the training itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedbench.data import Cohort
from fedbench.federation.inprocess import Trained, train
from fedbench.federation.listening import Listener
from fedbench.metric import Refusal
from fedbench.regimes import Trainer
from fedbench.wire import Wire

__all__ = ["Overheard", "Overhearing"]

_NO_ROUNDS = Refusal(
    reason="No updates cross here: this attack is about federated training.",
    status="not applicable",
)
_UNHEARD = Refusal(
    reason="What crossed while this cell was trained was not kept, and its records do not tell it. "
    "Start a new run whose suite has this attack.",
    status="skipped",
)


@dataclass(frozen=True)
class Overheard:
    """What crossed during a training, or ``why`` there is nothing to hear."""

    wire: Wire | None
    why: Refusal

    @classmethod
    def of(cls, wire: Wire | None, regime: str, *, alone: bool) -> Overheard:
        """Return what was heard under a regime.

        Args:
            wire: as listened to.
            regime: only where sites train together something crosses round by round.
            alone: whether every site's own updates reach the server, rather than their sum.
        """
        if regime != "federated":
            return cls(None, _NO_ROUNDS)
        return cls(wire if wire is None or alone else wire.seen_as("aggregate"), _UNHEARD)


@dataclass
class Overhearing(Trainer):
    """A trainer with whom rounds of the federated training are kept, in memory only.

    ``listen`` has, for every attack on the training itself, how many rounds it looks at.
    """

    listen: Sequence[int] = ()
    _listeners: dict[str, Listener] = field(default_factory=dict)

    def wire(self) -> Wire | None:
        """Return what crossed during the federated training; None if nobody listened."""
        if "federated" not in self._listeners:
            return None
        study, encoder = self._study(self.world.sites), self._trained["federated"].encoder
        return self._listeners["federated"].wire(study, encoder)

    def _train(self, name: str, cohorts: Mapping[str, Cohort]) -> Trained:
        if name != "federated" or name in self._trained or not self.listen:
            return super()._train(name, cohorts)
        study = self._study(tuple(cohorts))
        self._listeners[name] = listener = Listener.to(study, self.listen)
        self._trained[name] = train(study, cohorts, tap=listener)
        return self._trained[name]
