"""The engine: it reads markets, samples paths of many requests together, and knows no HTTP."""
