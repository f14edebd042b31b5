"""The tokenizer that a vocabulary file belongs to."""

from lob_jax.errors import InputError
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.vocabulary import Vocabulary

AnyTokenizer = ExactTokenizer | CompactTokenizer


def tokenizer_for(vocabulary: Vocabulary) -> AnyTokenizer:
    """Return the tokenizer of a vocabulary."""
    return CompactTokenizer(vocabulary.bins) if vocabulary.bins is not None else ExactTokenizer(vocabulary.time_digits)


def exact_tokenizer_for(vocabulary: Vocabulary, *, what: str) -> ExactTokenizer:
    """Return the exact tokenizer of a vocabulary, for work that needs the events themselves.

    Raises:
      InputError: its tokens do not hold them.
    """
    tokenizer = tokenizer_for(vocabulary)
    if isinstance(tokenizer, ExactTokenizer):
        return tokenizer
    raise InputError(
        f"{what} needs exact tokens",
        where="the vocabulary of the records",
        expected="exact",
        was=vocabulary.tokenizer,
        remedy="prepare the records with --config.tokens.kind=exact",
    )
