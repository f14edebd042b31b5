"""Kinds of attention, one per module, which is named as in a configuration."""
