"""Shared by all feeds of price levels: convert level sizes and trades to events."""
