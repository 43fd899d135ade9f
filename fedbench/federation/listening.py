"""Keeping what crosses the door in some rounds, for attacks on the training itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ConfigRecord, Message
from numpy.typing import NDArray

from fedbench.codec import Codec
from fedbench.data import Cohort
from fedbench.encoding import Encoder
from fedbench.errors import Unsupported
from fedbench.federation.door import arrays_in, part, unpack
from fedbench.federation.inprocess import SERVER_ID, train
from fedbench.federation.planning import ENCODER
from fedbench.federation.study import Study
from fedbench.generator import Phase
from fedbench.kinds import CODECS, GENERATORS
from fedbench.privacy import Patient
from fedbench.strategy import Update
from fedbench.wire import Round, Wire, chosen

__all__ = ["MOST", "Listener", "listened"]

MOST = 2**30
"""Bytes of messages that are kept in memory at most."""


@dataclass
class Listener:
    """Sees every message of a training, and keeps the rounds that attacks ask for.

    What it keeps stays in memory and goes with the training. Beside each chosen round it keeps
    what was told in the next one, which other sites learn from.

    Attributes:
        most: rounds of each phase, one entry per attack; see ``chosen``.
        codec: unpacks parameters, as the server does.
        sites: names in the order of the nodes, which are numbered from ``first``.
        agreed: the counts of every site that agreed the encoder.
    """

    most: Sequence[int]
    codec: Codec
    sites: Sequence[str]
    first: int
    _told: dict[tuple[str, int], dict[str, NDArray[Any]]] = field(default_factory=dict)
    _heard: dict[tuple[str, int], dict[str, Update]] = field(default_factory=dict)
    _heading: tuple[str, int, int] = ("", 0, 0)
    _lengths: dict[str, int] = field(default_factory=dict)
    _kept: int = 0
    agreed: dict[str, Update] = field(default_factory=dict, init=False)

    @classmethod
    def to(cls, study: Study, most: Sequence[int]) -> Listener:
        """Return a listener to a training in this process."""
        codec = CODECS.build(study.codec.name, study.codec.settings)
        return cls(most, codec, study.sites, SERVER_ID + 1)

    def wire(self, study: Study, encoder: Encoder) -> Wire:
        """Return what crossed, as attacks are given it."""
        generator = GENERATORS.build(study.generator.name, study.generator.settings)
        promise = study.promise
        clip = promise.clip if isinstance(promise, Patient) else math.inf
        return Wire(generator, encoder, self.rounds(), agreed=self.agreed, clip=clip)

    def __call__(self, message: Message) -> None:
        """Take note of a message if it belongs to a chosen round.

        Raises:
            Unsupported: more would be kept than ``MOST``.
        """
        # Whoever judges a model says nothing about those it is learned from.
        if not message.has_content() or message.metadata.message_type == "evaluate":
            return
        content = message.content
        if "call" in content:
            heading = part(content, "call", ConfigRecord)
            phase, place = str(heading["phase"]), int(heading["round"])  # type: ignore[arg-type]
            self._heading = phase, place, int(heading["rounds"])  # type: ignore[arg-type]
            self._lengths[phase] = self._heading[2]
            asked = self._asked()
            if (phase, place) not in self._told and {place, place - 1} & asked:
                told = self.codec.decode(arrays_in(content, "model"))
                self._told[phase, place] = self._weighed(dict(told))
        elif "facts" in content:
            phase, place, _ = self._heading
            site = self.sites[message.metadata.src_node_id - self.first]
            if phase == ENCODER:
                self.agreed[site] = unpack(content, self.codec)
            elif place in self._asked():
                update = unpack(content, self.codec)
                self._weighed({**update.parameters, **update.sums})
                self._heard.setdefault((phase, place), {})[site] = update

    def rounds(self) -> list[Round]:
        """Return what was kept, in order; rounds of which only the beginning is known say so."""
        found = []
        for (phase, place), told in self._told.items():
            heard = self._heard.get((phase, place), {})
            found.append(Round(Phase(phase), place, self._lengths[phase], told, heard))
        return found

    def _asked(self) -> set[int]:
        phase, _, rounds = self._heading
        if phase == ENCODER:
            return set()
        return {place for most in self.most for place in chosen(rounds, most)}

    def _weighed(self, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self._kept += sum(array.nbytes for array in arrays.values())
        if self._kept > MOST:
            raise Unsupported(
                f"What attacks on the training ask to keep takes more than {MOST / 2**30:g} GiB. "
                "Give them fewer rounds (`rounds`)."
            )
        return arrays


def listened(study: Study, cohorts: Mapping[str, Cohort], most: Sequence[int]) -> Wire:
    """Train, and return what crossed.

    Args:
        study: what is asked of the sites.
        cohorts: their training records.
        most: rounds of each phase that are kept, one entry per attack.
    """
    listener = Listener.to(study, most)
    return listener.wire(study, train(study, cohorts, tap=listener).encoder)
