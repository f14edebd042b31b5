"""Transformers in Flax linen: pure functions of parameters and a batch."""
