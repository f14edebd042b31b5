"""Training objectives, one per module, which is named as in a configuration."""
