"""The configuration of a run: checks of its keys, and its sections as plain dataclasses."""
