"""Likelihood, accuracy, direction, and the baselines they are held against."""
