"""Runs from Python: prepare records, train, evaluate, generate and score; nothing here prints."""
