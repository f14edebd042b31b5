"""Order books: compiled replay, its pure-Python reference, snapshots and features."""
