"""Vocabulary, grammar and tokenizers: events and a book to token ids and back."""
