"""Price direction: predict which way the next event moves the mid price, and score the predictions."""
