"""Cached sampling of new events under the grammar, on the device."""
