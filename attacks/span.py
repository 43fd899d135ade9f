"""Does a patient lie in the space that the gradient of the first layer spans?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedbench.attack import Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._reading import Reading
from fedbench.errors import Refused
from fedbench.seeds import Rng
from fedbench.traces import cohort_of
from fedbench.wire import Wire

__all__ = ["Span"]

Floats = NDArray[np.float64]

_LEAST = 1e-12
"""Squared length of what is left of a patient that is no more than rounding."""


@dataclass(frozen=True, kw_only=True)
class Span(Reading):
    """How little of the patient is left outside of what moved the first layer.

    What moved a unit is a sum of patients, each times some number: with fewer patients than units
    and columns the gradient of all units spans the space of these patients, and hardly anybody
    else lies in it (Dimitrov et al. 2024, https://arxiv.org/abs/2403.03945, find whole batches
    there). Steps of plain gradient descent add up, so any number of them spans the same space.
    Where it has all dimensions that patients have, everybody lies in it, which is refused.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES})
    version: ClassVar[int] = 4

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        from fedbench.attacks._layers import encoded  # noqa: PLC0415  (torch is slow to import)

        columns = encoded(sight.wire.encoder, cohort_of(sight.schema, challenge.targets))
        targets = np.hstack([columns, np.ones((len(columns), 1))])
        room = int(np.linalg.matrix_rank(targets))
        found, crowded, sites = np.zeros(len(targets)), 0, challenge.sites.astype(str)
        for site in np.unique(sites).tolist():
            mine = targets[sites == site]
            directions = self._directions(sight.wire, site)
            if len(directions) >= room:
                crowded += 1
                continue
            left = mine - (mine @ directions.T) @ directions
            found[sites == site] = -np.log(np.square(left).sum(axis=1) + _LEAST)
        if crowded == len(set(sites.tolist())):
            raise Refused(
                f"What crossed spans all {room} dimensions that patients have here, so that "
                "everybody lies in it: there are too many training patients for this attack."
            )
        return Guess(found)

    def _directions(self, wire: Wire, site: str) -> Floats:
        """Return what spans the patients of a site, no more than there are: orthonormal rows."""
        moves, patients, blur = [], 0, 0.0
        for layer, glimpse in self.seen(wire, site):
            moves.append(np.column_stack([layer.weight, layer.bias]))
            patients, blur = round(glimpse.patients), max(blur, layer.blur)
        moved = np.concatenate(moves)
        _, lengths, directions = np.linalg.svd(moved, full_matrices=False)
        # The longest that a matrix of this shape gets by rounding alone.
        least = blur * (np.sqrt(moved.shape[0]) + np.sqrt(moved.shape[1]))
        return np.asarray(directions[lengths > least][:patients])
