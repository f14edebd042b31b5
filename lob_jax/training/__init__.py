"""The pure training step, the optimiser, the loop, its checkpoints and its logs."""
