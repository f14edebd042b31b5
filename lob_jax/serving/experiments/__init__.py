"""Experiments: which model answers which unit, how well each one did, and what may be concluded at any time."""
