"""LOBSTER: one message file and one order-book file per day."""
