"""Readers of market-data files, one folder per format, and a feed of simulated days."""
