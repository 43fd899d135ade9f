"""What a scenario promises about privacy, and what hospitals spent of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fedbench.accounting import Accountant, Charge, Spent
from fedbench.config import Scenario
from fedbench.federation.study import promised
from fedbench.games import Claim
from fedbench.regimes import CHARGES

__all__ = ["claimed", "most_spent", "promise", "spent"]


def claimed(scenario: Scenario) -> Claim:
    """Return what a scenario promises about every patient."""
    promise = promised(scenario.privacy, "privacy")
    if promise is None or promise.unit != "patient":
        return Claim()
    return Claim(promise.epsilon, promise.delta)


def promise(scenario: Scenario, regime: str) -> dict[str, Any]:
    """Return the columns of a row that say what was promised."""
    found = promised(scenario.privacy, "privacy")
    if found is None or regime == "control":
        return {"dp": "none", "unit": "patient"}
    together = found.noise == "distributed" and regime == "federated"
    return {
        "dp": "simulated",
        "unit": found.unit,
        "epsilon": found.epsilon,
        "delta": found.delta,
        **({"server_sees": "sum"} if together else {}),
    }


def spent(charges: pd.DataFrame, scenario: Scenario) -> dict[str, Spent]:
    """Return what every hospital's charges cost together; nothing where nothing is promised."""
    promise = promised(scenario.privacy, "privacy")
    if promise is None or charges.empty:
        return {}
    found = {}
    for site, mine in charges.groupby("site", sort=True):
        columns = (mine[name].tolist() for name in CHARGES[1:])
        told = [Charge("", *each) for each in zip(*columns, strict=True)]
        found[str(site)] = Accountant(charges=told).spent(promise.delta)
    return found


def most_spent(of: Mapping[str, Spent], site: str) -> dict[str, float]:
    """Return what the patients of a hospital gave away, and the most of any hospital."""
    if not of:
        return {}
    found = {"epsilon_max": max(one.epsilon for one in of.values())}
    return found | ({"epsilon_site": of[site].epsilon} if site in of else {})
