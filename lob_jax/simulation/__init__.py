"""Simulated participants over a price-time-priority matching engine."""
