"""Measures of a flow, found by listing this folder; see `evaluation/fidelity/measure.py`."""
