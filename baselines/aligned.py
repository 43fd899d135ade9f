"""A variational autoencoder whose hidden numbers are pulled to common means, stratum by stratum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor, nn

from fedbench.baselines.tvae import Tvae, _Autoencoder
from fedbench.data import Part
from fedbench.encoding import Encoder
from fedbench.errors import SpecError, Unsupported
from fedbench.generator import Local, Phase, Site, State
from fedbench.privacy import Unlimited
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Update
from fedbench.training import Batch

_COMMON = "common means"
_KNOWN = "strata known"


@dataclass(frozen=True, kw_only=True)
class Aligned(Tvae):
    """Train ``tvae`` with hidden numbers that mean the same at every hospital.

    After each round hospitals send, for every stratum of patients (how the outcome ended, and the
    level of a category if one is named), the sum of their hidden means and how many patients that
    is. The server tells all hospitals the means over everybody, and each patient costs so much
    more (``pull``) the further her hidden mean is from that of her stratum: prototypes, as in
    FedProto (Tan et al. 2022, https://arxiv.org/abs/2105.00243), in the place of FedEHR-Gen's
    latent alignment (https://arxiv.org/abs/2605.27892). Within strata only, since pulling
    everybody to one mean would erase what distinguishes a hospital's patients.

    Attributes:
        pull: Weight of half the squared distance; 0 is ``tvae``.
        by: A category of the patient table that divides strata further; empty: none.
        stratified: Whether there are strata at all.
    """

    pull: Annotated[float, Ge(0)] = 0.1
    by: str = ""
    stratified: bool = True

    def besides(self, phase: Phase, message: Message, site: Site) -> Sequence[NDArray[Any]]:
        return (self._strata(site),)

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        count = int(np.prod([encoder.widths[j] for j in self._columns(encoder)]))
        return {
            **super().start(phase, state, encoder, rng),
            _COMMON: np.zeros((count, self.latent)),
            _KNOWN: np.zeros(count),
        }

    def loaded(self, phase: Phase, message: Message, encoder: Encoder) -> nn.Module:
        network = cast("_Aligned", super().loaded(phase, message, encoder))
        network.common = torch.as_tensor(message[_COMMON])
        network.known = torch.as_tensor(message[_KNOWN] > 0)
        return network

    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        return _Aligned(encoder, self.hidden, self.latent)

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        found, model = super().losses(network, batch, draws), cast("_Aligned", network)
        mean, _ = model.encode(batch)
        (stratum,) = batch.extra
        apart = mean - model.common.to(mean)[stratum]
        far = 0.5 * (apart**2).sum(dim=1) * model.known.to(mean)[stratum]
        return {"loss": found["loss"] + self.pull * far}

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        """Train at one site, then add up where its patients lie.

        Raises:
            Unsupported: with differential privacy.
        """
        if not isinstance(local.budget, Unlimited):
            raise Unsupported(
                "The sums of hidden means are not noised, so there is no differential privacy "
                "here. Take tvae."
            )
        told = super().update(phase, message, site, local, rng)
        after = {**told.parameters, _COMMON: message[_COMMON], _KNOWN: message[_KNOWN]}
        network = cast("_Aligned", self.loaded(phase, after, site.encoder))
        everyone = Batch.of(site.records, site.encoder, network.spread.dtype, "cpu", ())
        with torch.no_grad():
            means = network.encode(everyone)[0].double().numpy()
        hot = np.eye(len(message[_KNOWN]))[self._strata(site)]
        return replace(told, sums={_COMMON: hot.T @ means, _KNOWN: hot.sum(axis=0)})

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        count = combined.sums[_KNOWN]
        means = combined.sums[_COMMON] / np.maximum(count, 1.0)[:, None]
        return {**state, **combined.parameters, _COMMON: means, _KNOWN: count}

    def _columns(self, encoder: Encoder) -> list[int]:
        """Return which categories make strata."""
        if not self.stratified:
            return []
        names = [feature.name for feature in encoder.categories]
        if self.by and self.by not in names:
            raise SpecError(
                f"aligned: there is no category {self.by!r} in the patient table; "
                f"there are {', '.join(names)}."
            )
        ends = [f.name for f in encoder.categories if f.part is Part.OUTCOME]
        return [
            names.index(name) for name in dict.fromkeys([*ends, *([self.by] if self.by else [])])
        ]

    def _strata(self, site: Site) -> NDArray[np.int64]:
        found = np.zeros(len(site.records), dtype=np.int64)
        for j in self._columns(site.encoder):
            found = found * site.encoder.widths[j] + site.records.levels[:, j]
        return found


class _Aligned(_Autoencoder):
    """The network of ``tvae`` with what all hospitals know of the strata."""

    common: Tensor
    known: Tensor
