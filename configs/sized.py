"""One of the sizes by its name: --config=configs/sized.py:small. The configs of the variants take a size likewise."""

import importlib

import ml_collections

SIZES = ("tiny", "small", "base", "large")


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a size.

    Raises:
      ValueError: there is no such size.
    """
    if size not in SIZES:
        raise ValueError(f"there is no size {size!r}: name one of {', '.join(SIZES)}, as in configs/sized.py:small")
    return importlib.import_module(f"configs.{size}").get_config()
