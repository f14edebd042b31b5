"""Attention: kinds behind one interface, backends for each platform, and the cache."""
