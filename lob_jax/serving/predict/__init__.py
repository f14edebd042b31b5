"""Exact predictions of the next event: the probabilities with which generation draws it, without drawing."""
