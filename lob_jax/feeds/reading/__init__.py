"""What every feed shares: bytes to columns, bad rows, scales, stores and reports."""
