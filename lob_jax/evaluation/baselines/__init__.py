"""Count-based models of exact tokens, which need no training on a device."""
