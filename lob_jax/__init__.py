"""A limit order book as a language: feeds, books, tokens, transformers, generation."""

__version__ = "0.1.0"  # pyproject.toml reads it here
