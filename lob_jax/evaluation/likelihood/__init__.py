"""What a model gives each token, and the metrics of it."""
