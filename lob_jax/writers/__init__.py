"""Write any day in another format: LOBSTER, ITCH, hftbacktest, Parquet."""
