"""Price direction and volatility: predict which way the next event moves the mid price, and score such predictions."""
