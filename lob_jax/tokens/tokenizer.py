"""`Tokenizer`: what the pipeline asks of a way to write events as tokens; `Ability`: what one may not be able to do."""

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.events.schema import Events
from lob_jax.tokens.grammar import Automaton
from lob_jax.tokens.registry import TOKENIZERS, tokenizer_class
from lob_jax.tokens.seen import Seen
from lob_jax.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:  # it would bring Numba along, and generation runs without
    from lob_jax.book.replay import BookStates


class Ability(enum.Enum):
    """What some work needs and not every tokenizer can do, in words that complete "tokens that ..."."""

    EVENTS = "give the same events back, so that a record holds its own book"
    PARTS = "tell the head, the size and the gap of an event apart"
    DIRECTION = "say the price of an event, and the size it takes, before its gap"
    GENERATION = "the device can read as it draws them"
    ORDERS = "can spell any order"


class Tokenizer(Protocol):
    """A code between events and token ids, relative to the decoder's book.

    The decoder's book is the start book, the events decoded so far, and the corrections up to the last of them.

    Attributes:
      name: in vocabularies and in the configuration, see `registry.TOKENIZERS`.
      fewest_event_tokens: tokens of the shortest event.
      time_digits: what `tokens.time_digits` may be set to: significant digits of a gap, None for what is no choice.
      fitted: whether it is a `FittedTokenizer`.
      lacks: why it cannot do some things; what is not named it can do.
    """

    name: ClassVar[str]
    fewest_event_tokens: ClassVar[int]
    time_digits: ClassVar[tuple[int | None, ...]]
    fitted: ClassVar[bool]
    lacks: ClassVar[Mapping[Ability, str]]

    @classmethod
    def from_settings(cls, *, time_digits: int | None = None, bins: Mapping[str, Any] | None = None) -> Self:
        """Return the tokenizer of a configuration's time_digits, or of what a vocabulary file says.

        Raises:
          InputError: the settings are not those of such a tokenizer.
        """

    @property
    def vocabulary(self) -> Vocabulary:
        """What decides the meaning of an id."""

    @property
    def grammar(self) -> Automaton:
        """Which token may follow which."""

    def encode(self, day: MarketDay) -> np.ndarray:
        """Return the tokens of a day's events, uint16 [T], without BOS and EOS.

        Raises:
          InputError: an event has no tokens; names it, what was expected, and what would mend it.
        """

    def encode_runs(self, day: MarketDay, *, run_events: int = ...) -> Iterator[np.ndarray]:
        """Yield the same tokens, `run_events` events at a time, so that the states of one part are in memory."""

    def tokenize_events(self, day: MarketDay, book_states: "BookStates") -> np.ndarray:
        """Return the same tokens from the states of a replay of the day that has been made already."""

    def decode(self, tokens: np.ndarray, day: MarketDay) -> Events:
        """Return the events of tokens on a day whose instrument, starting book and corrections are known.

        The day's own events are not read.

        Raises:
          InputError: the tokens are ill-formed or stop inside an event; names the position.
        """

    def kinds_and_codes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the kind and the code of each event of whole events' tokens [T], int [E] each; no book is needed."""

    @staticmethod
    def known_rows(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the clock and the book know once each token of whole events has been read.

        Returns:
          Two int32 [T]: row i of a record's clock or features is what was known before event i. A row may depend on
          the tokens up to its own alone.
        """

    def describe(self, token: int) -> str:
        """Say in words what a token stands for."""


class Loss(Protocol):
    """A dataclass that says what events lose as tokens; `told` is a sentence of it, without a full stop."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def told(self) -> str: ...


class FittedTokenizer(Tokenizer, Protocol):
    """A tokenizer whose codes are fitted to training days before records are written."""

    @classmethod
    def fit(cls, seen: Sequence[Seen]) -> Self:
        """Return the tokenizer fitted to what the events of some days say, and to nothing else."""

    def loss(self, day: MarketDay) -> Loss:
        """Measure what the events of a day lose."""


def require(tokenizer: Tokenizer | type[Tokenizer], ability: Ability, *, what: str, where: str) -> None:
    """Refuse work that a tokenizer's tokens do not allow.

    Args:
      tokenizer: whose tokens are at hand.
      ability: what the work needs.
      what: the work, as the subject of a sentence, such as "a forecast".
      where: what the reader gave that names the tokens or asks for the work.

    Raises:
      InputError: the tokenizer lacks the ability; says why, and which tokenizers have it.
    """
    reason = tokenizer.lacks.get(ability)
    if reason is not None:
        able = [name for name in TOKENIZERS if ability not in tokenizer_class(name).lacks]
        raise InputError(
            f"{what} needs {' or '.join(able)} tokens: {reason}",
            where=where,
            expected=f"tokens that {ability.value}",
            was=tokenizer.name,
            remedy=f"prepare the records, and train, with --config.tokens.kind={able[0]}",
        )
