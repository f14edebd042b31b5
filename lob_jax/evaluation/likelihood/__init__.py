"""Likelihood: the log probability that a model gives each token, and the metrics computed from it."""
