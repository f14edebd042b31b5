"""A limit order book as a language: feeds, books, tokens, transformers, generation."""
