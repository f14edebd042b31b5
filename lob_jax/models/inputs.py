"""List the arrays of a window of tokens. To give the model another input, add an entry to ARRAYS.

An entry declares the shape of an array, which models read it, and how generation continues it. Its values are computed
by `lob_jax.data.windows.known`, and after a prompt by `lob_jax.generation.device.known`; all other code that enumerates
the arrays of a window or a batch uses this list.
"""

import dataclasses
import enum
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lob_jax.book.anchors import ANCHORS
from lob_jax.book.flow import FLOW_FEATURES
from lob_jax.book.price_memory import PRICE_MEMORIES
from lob_jax.book.queue import QUEUE_NUMBERS
from lob_jax.errors import InputError
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.latest import LATEST_TOKENS
from lob_jax.tokens.vocabulary import CLASS_SIZE

if TYPE_CHECKING:  # the list of arrays is also read where there is no JAX
    import jax

DAYS = 7

# Arrays [B, T, ...] of role BESIDE by name, at least those that the model reads; those of role PLACE may be among them.
Conditioning = dict[str, "jax.Array"]


class Role(enum.Enum):
    """The role of an array in a model and its training."""

    STREAM = "the tokens, and which of them count as targets"
    BESIDE = "an input in addition to the tokens: entry t is known when token t is the newest one"
    PLACE = "which tokens may come next: entry t is known when token t is the newest one; not an input of the network"
    LABEL = "what a head learns to predict"
    ACCOUNT = "which window this is"


class Advance(enum.Enum):
    """The source of an input's values after the prompt, in generation."""

    CONSTANT = "the prompt's last token: it stays what it was there"
    CLOCK = "the clock of the path"
    BOOK = "the live book of the path"
    FLOW = "the state of the path's flow, at its clock"
    QUEUE = "the live book of the path, at the price that its tokens spell so far"
    PAST = "the past events of the path, at the price that its tokens spell so far"
    ANCHORS = "the live book of the path, and where its last events were"
    LATEST = "the tokens of the path"
    EVENTS = "the number of the event that the token belongs to"


def _always(_: ModelConfig) -> bool:
    return True


def _never(_: ModelConfig) -> bool:
    return False


def _outlook(model: ModelConfig) -> bool:
    return bool(model.heads.outlook_events)


def _masks(model: ModelConfig) -> bool:
    return model.mask != "none"


def _masks_by_book(model: ModelConfig) -> bool:
    return model.mask == "book"


def _contrasts(model: ModelConfig) -> bool:
    return model.heads.contrastive_size > 0


def _contrasts_or_counts(model: ModelConfig) -> bool:
    return _contrasts(model) or model.counts > 0


@dataclasses.dataclass(frozen=True)
class WindowArray:
    """One array of a window.

    Attributes:
      name: its key in a window, a batch and a `Conditioning`.
      dtype: its NumPy dtype.
      letters: its axes: B windows, T tokens, then those of SIZES.
      role: its role in a model and its training.
      read: whether a training step of a given model reads it.
      held: whether the windows for a given model contain it; None if that is the same as `read`.
      advance: the source of its values in generation; None for an array that generation cannot continue.
      ids: number of ids, for an array of ids.
    """

    name: str
    dtype: str
    letters: str
    role: Role
    read: Callable[[ModelConfig], bool]
    held: Callable[[ModelConfig], bool] | None = None
    advance: Advance | None = None
    ids: Callable[[ModelConfig], int] | None = None

    def held_by(self, model: ModelConfig) -> bool:
        """Return whether the windows for a model contain the array."""
        return (self.held or self.read)(model)


STREAM, BESIDE, PLACE, LABEL, ACCOUNT = Role
SIZES: dict[str, Callable[[ModelConfig], int]] = {
    "A": lambda _: ANCHORS,
    "F": lambda model: model.book_features,
    "L": lambda _: LATEST_TOKENS,
    "K": lambda model: len(model.heads.outlook_events),
    "M": lambda _: FLOW_FEATURES,
    "P": lambda _: PRICE_MEMORIES,
    "Q": lambda _: QUEUE_NUMBERS,
    "2": lambda _: 2,
    "W": lambda model: model.vocab_size // 8,
}
ARRAYS = (
    WindowArray("tokens", "int32", "BT", STREAM, read=_always, ids=lambda model: model.vocab_size),
    WindowArray("scored", "bool", "BT", STREAM, read=_always),
    # What is read in place of the tokens, in training windows that are drawn with it: whether they are is no matter of
    # the model. See `lob_jax.data.windows.augment.token_dropout`.
    WindowArray("shown", "int32", "BT", STREAM, read=_never, ids=lambda model: model.vocab_size),
    # The number that dropout derives a window's key from; the pipeline counts it.
    WindowArray("example", "int32", "B", ACCOUNT, read=_always),
    WindowArray(
        "time_of_day",
        "int32",
        "BT",
        BESIDE,
        read=lambda model: model.time_of_day,
        held=_always,
        advance=Advance.CLOCK,
        ids=lambda model: model.time_buckets,
    ),
    WindowArray(
        "day_of_week",  # Monday is 0
        "int32",
        "BT",
        BESIDE,
        read=lambda model: model.day_of_week,
        held=_always,
        advance=Advance.CONSTANT,
        ids=lambda _: DAYS,
    ),
    WindowArray(
        "book",  # see `lob_jax.book.features`
        "float32",
        "BTF",
        BESIDE,
        read=lambda model: model.book_state,
        held=_always,
        advance=Advance.BOOK,
    ),
    WindowArray(
        "flow",  # see `lob_jax.book.flow`
        "float32",
        "BTM",
        BESIDE,
        read=lambda model: model.flow_state,
        advance=Advance.FLOW,
    ),
    WindowArray(
        "queue",  # see `lob_jax.book.queue`
        "int16",
        "BTQ",
        BESIDE,
        read=lambda model: model.queue_state or model.pointer,
        advance=Advance.QUEUE,
        ids=lambda _: CLASS_SIZE,
    ),
    WindowArray(
        "price_memory",  # see `lob_jax.book.price_memory`
        "int16",
        "BTP",
        BESIDE,
        read=lambda model: model.price_memory,
        advance=Advance.PAST,
        ids=lambda _: CLASS_SIZE,
    ),
    WindowArray(
        "anchors",  # see `lob_jax.book.anchors`
        "int16",
        "BTA",
        BESIDE,
        read=lambda model: model.pointer,
        advance=Advance.ANCHORS,
        ids=lambda _: CLASS_SIZE,
    ),
    WindowArray(
        "latest",  # see `lob_jax.tokens.latest`
        "int16",
        "BTL",
        BESIDE,
        read=lambda model: model.latest_tokens or model.counts > 0,
        advance=Advance.LATEST,
        ids=lambda model: model.vocab_size,
    ),
    WindowArray(
        "regime",
        "int32",
        "BT",
        BESIDE,
        read=lambda model: model.regime == "added" or _contrasts(model),
        held=lambda model: model.regime != "none" or _contrasts(model),  # a prefix token is derived from it
        advance=Advance.CONSTANT,
        ids=lambda model: model.n_regimes,
    ),
    WindowArray(
        "instrument",
        "int32",
        "BT",
        BESIDE,
        read=lambda model: model.n_instruments > 0,
        advance=Advance.CONSTANT,
        ids=lambda model: model.n_instruments,
    ),
    # The number of the event that a token belongs to; only differences of it matter to a model.
    WindowArray(
        "event",
        "int32",
        "BT",
        BESIDE,
        read=lambda model: model.needs_events,
        held=_always,
        advance=Advance.EVENTS,
    ),
    # Seconds since the venue's midnight, and nanoseconds within the second.
    WindowArray("clock", "int32", "BT2", BESIDE, read=lambda model: model.needs_clock, advance=Advance.CLOCK),
    # How many tokens of the peer's window belong to events strictly before the time known at a token; rows 2b and
    # 2b + 1 of a batch are peers.
    WindowArray("peer_seen", "int32", "BT", BESIDE, read=lambda model: model.attention.cross_asset),
    # The grammar's state, and the class of the newest head (`token // 1000`), 0 before the first one.
    WindowArray("state", "int16", "BT", PLACE, read=_masks),
    WindowArray("kind", "int8", "BT", PLACE, read=_masks_by_book),
    # The tokens that the book allows, as bits, see `lob_jax.tokens.sets.planes`.
    WindowArray("allowed", "uint8", "BTW", PLACE, read=_masks_by_book),
    # 0 down, 1 flat, 2 up; negative where there is no label.
    WindowArray("direction", "int32", "BTK", LABEL, read=_outlook, ids=lambda _: 3),
    WindowArray("log_volatility", "float32", "BTK", LABEL, read=_outlook),
    # Where a window starts: its record, and the position in that record's tokens; they tell which windows overlap.
    WindowArray("record", "int32", "B", ACCOUNT, read=_contrasts_or_counts, held=_always),
    WindowArray("position", "int32", "B", ACCOUNT, read=_contrasts, held=_always),
)
BY_NAME = {array.name: array for array in ARRAYS}


def names_of(*roles: Role) -> tuple[str, ...]:
    """Return the names of all arrays with one of these roles."""
    return tuple(array.name for array in ARRAYS if array.role in roles)


def fields_read(model: ModelConfig, *roles: Role) -> tuple[str, ...]:
    """Return the names of the arrays that a step of a model reads, with one of these roles (default: any)."""
    return tuple(array.name for array in ARRAYS if array.read(model) and array.role in (roles or Role))


def fields_held(model: ModelConfig, *roles: Role) -> tuple[str, ...]:
    """Return the names of the arrays in the windows for a model, with one of these roles (default: any)."""
    return tuple(array.name for array in ARRAYS if array.held_by(model) and array.role in (roles or Role))


def zeros(
    model: ModelConfig, names: tuple[str, ...], *, windows: tuple[int, ...], tokens: int
) -> dict[str, np.ndarray]:
    """Return arrays of zeros with the shapes of a batch.

    Args:
      model: the model, which determines SIZES.
      names: names of the arrays.
      windows: the axes that replace B.
      tokens: T, tokens per window.
    """

    def shape(array: WindowArray) -> tuple[int, ...]:
        axes = {"B": windows, "T": (tokens,)}
        parts = (axes[letter] if letter in axes else (SIZES[letter](model),) for letter in array.letters)
        return tuple(itertools.chain.from_iterable(parts))

    return {name: np.zeros(shape(BY_NAME[name]), BY_NAME[name].dtype) for name in names}


def given(conditioning: Conditioning, name: str) -> "jax.Array":
    """Return an input that the model reads.

    Raises:
      InputError: the input is missing.
    """
    if name not in conditioning:
        array = BY_NAME[name]
        raise InputError(
            f"the model reads {name} and was not given it",
            where=f"conditioning[{name!r}]",
            expected=f"{array.dtype} [{', '.join(array.letters)}]",
            was=f"only {', '.join(conditioning) or 'tokens'}",
            remedy=f"pass {name}, or build the model without it",
        )
    return conditioning[name]
