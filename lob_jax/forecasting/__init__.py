"""Forecasts of the mid price: examples, models, their fit and their scores."""
