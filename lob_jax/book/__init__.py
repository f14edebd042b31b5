"""Order books: compiled replay, its pure-Python oracle, features, a matching engine."""
