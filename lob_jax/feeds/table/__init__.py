"""Tables of order events with named columns: CSV, Parquet, Arrow, or in memory."""
