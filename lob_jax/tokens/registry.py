"""Which tokenizers there are: a new one is a module, and a line here."""

import importlib
from typing import TYPE_CHECKING

from lob_jax.errors import InputError

if TYPE_CHECKING:
    from lob_jax.tokens.tokenizer import Tokenizer

# Where the class of each lies. Classes are imported when they are asked for: the names alone need no package at all.
TOKENIZERS = {
    "exact": "lob_jax.tokens.exact:ExactTokenizer",
    "compact": "lob_jax.tokens.compact:CompactTokenizer",
}


def check_name(name: object, *, where: str = "vocabulary") -> None:
    """Refuse a name that no tokenizer has.

    Raises:
      InputError: there is no such tokenizer; says where it was asked for.
    """
    if not isinstance(name, str) or name not in TOKENIZERS:
        raise InputError(
            "unknown tokenizer",
            where=where,
            expected=" | ".join(TOKENIZERS),
            was=name,
            remedy="choose one of these",
        )


def tokenizer_class(name: str, *, where: str = "vocabulary") -> "type[Tokenizer]":
    """Return the class of a tokenizer, by the name that its vocabulary and the configuration know it by.

    Raises:
      InputError: there is no such tokenizer; says where it was asked for.
    """
    check_name(name, where=where)
    module, attribute = TOKENIZERS[name].split(":")
    return getattr(importlib.import_module(module), attribute)
