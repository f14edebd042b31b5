"""Augmentations: windows of altered flow to train on, drawn anew for each place in the order of the data."""
