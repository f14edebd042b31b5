"""Monitoring of a server: metrics, drift of its input, quality of its model on live markets, logs and alerts."""
