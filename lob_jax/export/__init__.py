"""Exported models: programs and graphs that run without the training code, and the folders that hold them."""
