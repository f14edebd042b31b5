"""Baseline generators: simple models of order flow, fitted on training flow, that others are compared with."""
