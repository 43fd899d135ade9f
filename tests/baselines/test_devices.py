"""Whether losses can be computed wherever network and patients are, without such a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fedbench.data import Cohort
from fedbench.generator import Site
from fedbench.kinds import GENERATORS
from fedbench.training import Batch, Neural

NEURAL = [name for name in GENERATORS.names() if issubclass(GENERATORS.find(name), Neural)]


@pytest.mark.parametrize("name", NEURAL)
def test_losses_are_where_network_and_patients_are(
    name: str, trained: Callable[..., Any], small: Cohort
) -> None:
    model = GENERATORS.build(name)
    assert isinstance(model, Neural)
    some = small.take(small.patients[:1])
    run = trained(model, {"all": some}, 0)
    site = Site("all", run.encoder.encode(some), run.encoder, {}, some)
    for phase in model.phases():
        if phase.rounds:
            continue
        network = model.loaded(phase, run.state, run.encoder).to("meta")
        extra = model.besides(phase, run.state, site)
        batch = Batch.of(site.records, run.encoder, torch.float32, "meta", extra)
        draws = torch.zeros(1, model.width(phase, run.encoder), device="meta")
        losses = model.losses(network, batch, draws)
        assert {loss.device.type for loss in losses.values()} == {"meta"}
        assert {tuple(loss.shape) for loss in losses.values()} == {(1,)}
