"""Networks that learn from flow: LOB-Bench's discriminator, and an LSTM that predicts the mid."""
