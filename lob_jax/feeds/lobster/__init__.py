"""LOBSTER: a message file and an order-book file a day."""
