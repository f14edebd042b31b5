"""Count-based models of exact tokens, fitted on the host."""
