"""Which way the next event moves the mid price: what a model predicts, and how good that is."""
