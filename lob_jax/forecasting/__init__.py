"""Forecast the mid price: examples, models, training and scores."""
