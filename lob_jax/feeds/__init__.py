"""Readers and writers of market-data files, and a synthetic feed."""
