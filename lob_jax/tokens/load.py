"""Construct the tokenizer of a vocabulary."""

import dataclasses

from lob_jax.tokens.registry import tokenizer_class
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import Vocabulary


def tokenizer_for(vocabulary: Vocabulary) -> Tokenizer:
    """Return the tokenizer of a vocabulary.

    Raises:
      InputError: the vocabulary's settings do not fit its tokenizer.
    """
    bins = None if vocabulary.bins is None else dataclasses.asdict(vocabulary.bins)
    settings = {"time_digits": vocabulary.time_digits, "references": vocabulary.references, "bins": bins}
    return tokenizer_class(vocabulary.tokenizer).from_settings(**settings)
