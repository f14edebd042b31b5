"""The HTTP API of a server: routes, keys, limits and metrics. It knows engines by their protocol only."""
