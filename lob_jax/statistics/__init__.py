"""Measurements of a day's events and books."""
