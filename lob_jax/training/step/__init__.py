"""The pure training step: loss, objectives, optimiser, state and sharding."""
