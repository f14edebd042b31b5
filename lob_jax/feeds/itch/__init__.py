"""NASDAQ TotalView-ITCH 5.0."""
