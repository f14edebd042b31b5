"""Draw figures of market days, forecasts and learning-rate range tests."""
