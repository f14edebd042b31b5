"""Draw figures of market days, forecasts, training, attention and scores."""
