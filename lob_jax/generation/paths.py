"""Generated paths on the host: the levels that came into view as corrections, and each path as a day."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.instrument import Instrument
from lob_jax.generation.device.live_book import Reveal
from lob_jax.tokens.tokenizer import Tokenizer
from lob_jax.tokens.vocabulary import PAD, event_index


class Row(NamedTuple):
    """The tokens of one path, without padding; the attributes are those of `loop.Piece`, [T] each."""

    tokens: np.ndarray
    own: np.ndarray
    revealed: Reveal | None


def rows_of(tokens_BT: np.ndarray, own_BT: np.ndarray, revealed: Reveal | None) -> list[Row]:
    """Return the tokens of each path of a batch, see `loop.Piece`."""
    sampled_BT = tokens_BT != PAD
    together = Row(tokens_BT, own_BT, revealed)
    return [jax.tree.map(lambda leaf_BT, at=at: leaf_BT[at][sampled_BT[at]], together) for at in range(len(tokens_BT))]


def remembered_in(revealed: Reveal | None) -> int:
    """Return how many of the levels that came into view were remembered."""
    return 0 if revealed is None else int((revealed.remembered & (revealed.lots > 0)).sum())


def corrections_of(tokens_T: np.ndarray, revealed: Reveal | None, *, origin: int, tick: int) -> Corrections:
    """Return the levels that the events of a path brought into view, as corrections after these events.

    Args:
      tokens_T: tokens of the path, from the head of an event on.
      revealed: what each of them brought into view, [T] each; None for a book without a window.
      origin: origin of the prices of the live book, in price quanta.
      tick: price quanta per tick.
    """
    if revealed is None:
        return Corrections.none()
    at = np.flatnonzero(revealed.lots)
    one = jax.tree.map(lambda leaf_T: leaf_T[at].astype(np.int64), revealed)
    side = 1 - 2 * one.side
    event = event_index(tokens_T)[at].astype(np.int64)
    return Corrections(event, side.astype(np.int8), origin - side * one.key * tick, one.lots)


def path_day(
    tokens: np.ndarray, corrections: Corrections, *, start: BookSnapshot, tokenizer: Tokenizer, instrument: Instrument
) -> MarketDay:
    """Return the events of a path as a day.

    Args:
      tokens: tokens of complete events.
      corrections: the levels that they brought into view.
      start: the book before them.
      tokenizer: the tokenizer of the tokens.
      instrument: the instrument.
    """
    start = start.identified() if tokenizer.vocabulary.has_ranks else start
    opening = dataclasses.replace(MarketDay.opening(instrument, start), corrections=corrections)
    return opening.with_events(tokenizer.decode(tokens, opening))
