"""Label each event with the market regime before it and with the next moves of the mid price."""
