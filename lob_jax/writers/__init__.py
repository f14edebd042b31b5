"""Any day in another format: LOBSTER, ITCH, hftbacktest, Parquet."""
