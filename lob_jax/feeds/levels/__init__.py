"""What every feed of price levels shares: level sizes and trades to events."""
