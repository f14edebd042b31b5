"""A size by its name: --config=configs/sized.py:small. The variants take a size in the same way."""

import importlib

import ml_collections

from lob_jax.errors import InputError
from lob_jax.settings import meant

SIZES = ("tiny", "small", "base", "large")


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a size, one of SIZES.

    Raises:
      InputError: there is no such size.
    """
    if size not in SIZES:
        near = meant(size, SIZES)
        raise InputError(
            "there is no such size",
            where="--config, after the colon",
            expected=f"one of {', '.join(SIZES)}, as in configs/sized.py:small",
            was=repr(size),
            remedy=f"did you mean :{near}?" if near else "name one of these",
        )
    return importlib.import_module(f"lob_jax.configs.{size}").get_config()
