"""A training run from its first step to its last: setup, loop, checkpoints, logs."""
