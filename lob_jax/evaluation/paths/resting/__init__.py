"""Resting orders: when they are filled or cancelled on generated paths, against their known fate."""
