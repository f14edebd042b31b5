"""The registry of tokenizers: to add one, write its module and add a line here."""

import dataclasses
import importlib
from typing import TYPE_CHECKING

from lob_jax.errors import InputError

if TYPE_CHECKING:
    from lob_jax.tokens.tokenizer import Tokenizer
    from lob_jax.tokens.vocabulary import Vocabulary

# The module and class of each. Classes are imported on demand, so that checking a name imports no package.
TOKENIZERS = {
    "exact": "lob_jax.tokens.exact:ExactTokenizer",
    "compact": "lob_jax.tokens.compact:CompactTokenizer",
}


def check_name(name: object, *, where: str = "vocabulary") -> None:
    """Check that a tokenizer of this name exists.

    Raises:
      InputError: there is none; names `where` it was requested.
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
    """Return the class of a tokenizer by its name in vocabularies and in the configuration.

    Raises:
      InputError: there is none; names `where` it was requested.
    """
    check_name(name, where=where)
    module, attribute = TOKENIZERS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def tokenizer_for(vocabulary: "Vocabulary") -> "Tokenizer":
    """Return the tokenizer of a vocabulary.

    Raises:
      InputError: the vocabulary's settings do not fit its tokenizer.
    """
    bins = None if vocabulary.bins is None else dataclasses.asdict(vocabulary.bins)
    settings = {"time_digits": vocabulary.time_digits, "references": vocabulary.references, "bins": bins}
    return tokenizer_class(vocabulary.tokenizer).from_settings(**settings)
