"""Count-based baseline models of exact tokens, fitted on the host."""
