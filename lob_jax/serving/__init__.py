"""Serving: an engine that answers requests about live order books, and an HTTP API on top of it."""
