"""Check that generated paths are valid."""
