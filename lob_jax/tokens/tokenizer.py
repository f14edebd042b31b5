"""`Tokenizer`: what the pipeline asks of a way to write events as tokens."""

from typing import Protocol

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import BookStates
from lob_jax.events.schema import Events
from lob_jax.tokens.grammar import Grammar
from lob_jax.tokens.vocabulary import Vocabulary


class Tokenizer(Protocol):
    """A code between events and token ids, relative to the decoder's book.

    The decoder's book is the start book, the events decoded so far, and the corrections up to the last of them.
    """

    @property
    def vocabulary(self) -> Vocabulary:
        """What decides the meaning of an id."""

    @property
    def grammar(self) -> Grammar:
        """Which token may follow which."""

    def encode(self, day: MarketDay) -> np.ndarray:
        """Return the tokens of a day's events, uint16 [T], without BOS and EOS.

        Raises:
          InputError: an event has no tokens; names it, what was expected, and what would mend it.
        """

    def tokenize_events(self, day: MarketDay, book_states: BookStates) -> np.ndarray:
        """Return the same tokens from the states of a replay of the day that has been made already."""

    def decode(self, tokens: np.ndarray, day: MarketDay) -> Events:
        """Return the events of tokens on a day whose instrument, starting book and corrections are known.

        The day's own events are not read.

        Raises:
          InputError: the tokens are ill-formed or stop inside an event; names the position.
        """

    def describe(self, token: int) -> str:
        """Say in words what a token stands for."""
