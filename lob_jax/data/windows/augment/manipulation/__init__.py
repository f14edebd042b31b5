"""Manipulations of a market: orders that are entered to be withdrawn, in patterns that are spliced into a day."""
