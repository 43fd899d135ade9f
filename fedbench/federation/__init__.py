"""Federation on Flower: the apps, the in-process grid, the door and its ledger."""

import os

# Must be set before anything imports flwr, which reports its use otherwise.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
