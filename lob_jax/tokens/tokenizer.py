"""`Tokenizer`, the interface between events and tokens, and `Ability`, what not every tokenizer supports."""

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.events.schema import Events
from lob_jax.tokens.grammar import Automaton
from lob_jax.tokens.registry import TOKENIZERS, tokenizer_class
from lob_jax.tokens.seen import Seen
from lob_jax.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:  # at run time it would import Numba, which generation does not need
    from lob_jax.book.replay import BookStates
    from lob_jax.tokens.sets.token_sets import TokenSets


class Ability(enum.Enum):
    """Abilities that some tasks need and not every tokenizer has, in words that complete "tokens that ..."."""

    EVENTS = "give the same events back, so that a record contains its own book"
    PARTS = "tell the head, the size and the gap of an event apart"
    DIRECTION = "give the price and the size of an event before its gap"
    GENERATION = "the device can read as it draws them"
    ORDERS = "can express any order"


class Spelled(NamedTuple):
    """What tokens say of E events without a book, int64 [E] each; for bins, the value that stands for each.

    Attributes:
      kind: a `Kind`.
      side: +1 bid, -1 ask, 0 for CONTROL.
      size: lots; 0 for CONTROL.
      gap_ns: since the previous event.
    """

    kind: np.ndarray
    side: np.ndarray
    size: np.ndarray
    gap_ns: np.ndarray


class Tokenizer(Protocol):
    """Converts between events and token ids, relative to the decoder's book.

    The decoder's book results from the starting book, the events decoded so far, and the corrections up to the last of
    these events.

    Attributes:
      name: its name in vocabularies and in the configuration, see `registry.TOKENIZERS`.
      fewest_event_tokens: number of tokens of the shortest event.
      time_digits: the valid values of `tokens.time_digits`: significant digits of a gap, or None for no rounding.
      references: those of `tokens.references`: how a removal refers to the order that it takes from.
      fitted: whether it is a `FittedTokenizer`.
      lacks: the abilities that it lacks, each with the reason.
    """

    name: ClassVar[str]
    fewest_event_tokens: ClassVar[int]
    time_digits: ClassVar[tuple[int | None, ...]]
    references: ClassVar[tuple[str, ...]]
    fitted: ClassVar[bool]
    lacks: ClassVar[Mapping[Ability, str]]

    @classmethod
    def from_settings(
        cls, *, time_digits: int | None = None, references: str = ..., bins: Mapping[str, Any] | None = None
    ) -> Self:
        """Construct the tokenizer from the configuration's settings, or from those in a vocabulary file.

        Raises:
          InputError: the settings do not fit this tokenizer.
        """

    @property
    def vocabulary(self) -> Vocabulary:
        """Return everything that determines the meaning of ids."""

    @property
    def grammar(self) -> Automaton:
        """Return the automaton of valid token streams."""

    def encode(self, day: MarketDay) -> np.ndarray:
        """Return the tokens of a day's events, uint16 [T], without BOS and EOS.

        Raises:
          InputError: an event cannot be encoded; names the event, what was expected, and a remedy.
        """

    def encode_runs(self, day: MarketDay, *, run_events: int = ...) -> Iterator[np.ndarray]:
        """Yield the same tokens, `run_events` events at a time, so that the states of one part are in memory."""

    def tokenize_events(self, day: MarketDay, book_states: "BookStates") -> np.ndarray:
        """Return the same tokens, given the states of a replay of the day, which are then not computed again."""

    def decode(self, tokens: np.ndarray, day: MarketDay, *, own: np.ndarray | None = None) -> Events:
        """Return the events of tokens on a day whose instrument, starting book and corrections are known.

        The day's own events are not read. Events of tokens with `own`, bool [T], get `Flag.OWN`.

        Raises:
          InputError: the tokens are ill-formed or end inside an event; names the position.
        """

    def sets(
        self, tokens: np.ndarray, day: MarketDay, *, closed: int = 0, rows: tuple[int, int] | None = None
    ) -> "TokenSets":
        """Return the set of tokens that may stand in the place of each token, and whether it is in its set.

        A token is in the set if the grammar allows it, and it can be continued to an event that the book before the
        event takes by the rules of the replay. The set in a place depends on nothing from that place on. Once a token
        of an event is outside its set, the sets of the other tokens of the event are the grammar's.

        Args:
          tokens: T tokens; BOS in front, and EOS and PAD behind are optional.
          day: the instrument, the starting book and the corrections; the events where the tokens do not contain them.
          closed: what halts before the first event have closed, see `lob_jax.events.halts`.
          rows: the first of the tokens whose sets are wanted, and the one behind the last of them; None for all.

        Raises:
          InputError: the tokens are ill-formed.
        """

    def queues(self, tokens: np.ndarray, day: MarketDay) -> np.ndarray:
        """Return the orders at the price that is spelled after each of T tokens, and the last sizes of its side.

        As codes, int16 [T, QUEUE_NUMBERS], see `lob_jax.book.queue`: the orders are those before the event, the sizes
        those of earlier tokens. Zeros where no price of a queue, or no side, is spelled. Those after a token depend
        only on the tokens up to and including it, and on the corrections before its event.

        Args:
          tokens: T tokens; BOS in front, and EOS and PAD behind are optional.
          day: the instrument, the starting book and the corrections.

        Raises:
          InputError: the tokens are ill-formed; names the position.
        """

    def anchors(self, tokens: np.ndarray, day: MarketDay) -> np.ndarray:
        """Return the prices that the next event may well name, before each of E events and after the last.

        As codes, int16 [E + 1, ANCHORS], see `lob_jax.book.anchors`: one more than the code that the price of an event
        there would begin with, 0 where there is no such price. The prices of last events are those of earlier tokens.

        Args:
          tokens: those of complete events; BOS in front, and EOS and PAD behind are optional.
          day: the instrument, the starting book and the corrections.

        Raises:
          InputError: the tokens are ill-formed; names the position.
        """

    def price_memory(self, tokens: np.ndarray, day: MarketDay) -> np.ndarray:
        """Return what last happened at the price that is spelled after each of T tokens, and on its side.

        As codes, int16 [T, PRICE_MEMORIES], see `lob_jax.book.price_memory`: of the last events of earlier tokens.
        Zeros where no price of a level is spelled. Those after a token depend only on the tokens up to and including
        it, and on the corrections before its event.

        Args:
          tokens: T tokens; BOS in front, and EOS and PAD behind are optional.
          day: the instrument, the starting book and the corrections.

        Raises:
          InputError: the tokens are ill-formed; names the position.
        """

    @staticmethod
    def known_rows(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which state of the clock and which of the book are known after each token of complete events.

        Returns:
          The row of a record's clock and of its features, int32 [T] each, where row i is the state before event i. The
          row of a token may depend only on the tokens up to and including it.
        """

    def spelled(self, tokens: np.ndarray) -> Spelled:
        """Return what the tokens of complete events say without a book.

        Raises:
          InputError: the tokens are ill-formed or end inside an event.
        """

    def describe(self, token: int) -> str:
        """Describe a token in words."""


class Loss(Protocol):
    """A dataclass that measures what events lose as tokens; `told` describes it in a sentence without a full stop."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def told(self) -> str: ...


class FittedTokenizer(Tokenizer, Protocol):
    """A tokenizer whose codes are fitted to training days before records are written."""

    @classmethod
    def fit(cls, seen: Sequence[Seen]) -> Self:
        """Fit a tokenizer to the events of the given days."""

    def loss(self, day: MarketDay) -> Loss:
        """Measure what the events of a day lose as tokens."""


def require(tokenizer: Tokenizer | type[Tokenizer], ability: Ability, *, what: str, where: str) -> None:
    """Check that a tokenizer has the ability that a task needs.

    Args:
      tokenizer: the tokenizer of the available tokens.
      ability: the ability that the task needs.
      what: the task, as the subject of a sentence, such as "a forecast".
      where: the setting or argument that chose the tokens or the task.

    Raises:
      InputError: the tokenizer lacks the ability; names the reason, and the tokenizers that have it.
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
