"""Tokens to ArrayRecord shards (a TFDS builder) and shards to batches (Grain)."""
