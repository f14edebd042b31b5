"""Follow the events of one live market: its book, what a model reads at their tokens, and what contradicts it."""
