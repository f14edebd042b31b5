"""Scores inside regimes: the distances of a score among messages that begin in the same state of the market."""
