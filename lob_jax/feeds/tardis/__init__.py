"""Tardis: `incremental_book_L2` and `trades`."""
