"""The metrics of next-token predictions: one module per metric, or per group that shares its counts."""
