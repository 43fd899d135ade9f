"""Distance to closest record, ours against SDMetrics'."""
