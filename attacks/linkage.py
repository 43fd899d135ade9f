"""Do released records link what two sources know about one patient?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedbench.attack import Attack, Game, Knowledge, Links, PublicChallenge, Sight
from fedbench.attacks._neighbours import tied, units
from fedbench.errors import Unsupported
from fedbench.seeds import Rng

__all__ = ["Linkage"]


@dataclass(frozen=True, kw_only=True)
class Linkage(Attack):
    """Point each half of a record at the closest released records.

    Two halves that point at the same one are said to be one patient's (linkability, Giomi et al.
    2023, Anonymeter, https://doi.org/10.56553/popets-2023-0055). Where several are equally close
    each is as likely.
    """

    game: ClassVar[Game] = "linkage"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 2
    misses: ClassVar[str] = "anything where the columns tell few patients apart"

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Links:
        if challenge.others is None:
            raise Unsupported("There is no second half to link.")
        released = sight.synthetic.table
        unit = units(sight.schema, released)
        first, second = (
            tied(sight.schema, half, released, unit)
            for half in (challenge.targets, challenge.others)
        )
        return Links(first=first, second=second)
