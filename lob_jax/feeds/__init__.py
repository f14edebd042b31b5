"""Readers of market-data files, a folder a format, and a feed of simulated days."""
