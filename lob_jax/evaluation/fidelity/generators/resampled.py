"""Generators that resample training flow: whole windows, blocks of messages, or each field by its frequency."""

from collections.abc import Iterator

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.generators.live_book import Continue, LiveBook
from lob_jax.evaluation.fidelity.generators.moves import Move, act, moves_of
from lob_jax.events.instrument import Instrument
from lob_jax.statistics.flow import Flow

BLOCK = 50  # messages
MOST_TRIES = 1000  # consecutive messages that a book may refuse


def copied_windows(training: Flow, *, sequences: int, rng: np.random.Generator) -> Flow:
    """Return training sequences drawn without replacement, all of them before one is repeated."""
    _check(len(training))
    rounds = -(-sequences // len(training))
    order = [rng.permutation(len(training)) for _ in range(rounds)]
    return training.select(np.concatenate([np.zeros(0, np.int64), *order])[:sequences])


def block_bootstrap(training: Flow, *, block: int = BLOCK) -> Continue:
    """Return a generator of blocks of consecutive training messages, each relative to the best price of its side.

    A withdrawal takes the level nearest to its distance.

    Args:
      training: the messages to draw from.
      block: messages per block; fewer where a sequence ends.
    """
    moves = moves_of(training)
    _check(len(moves))
    ends = np.searchsorted(moves.sequence, moves.sequence, side="right")

    def blocks(rng: np.random.Generator) -> Iterator[Move]:
        while True:
            first = int(rng.integers(len(moves)))
            yield from (moves.row(place) for place in range(first, min(first + block, int(ends[first]))))

    return lambda start, events, rng: _continued(training.instrument, start, blocks(rng), events=events, exact=False)


def zero_order(training: Flow) -> Continue:
    """Return a generator of independent messages.

    The head (kind, side and distance) is drawn by its frequency in training among those that are possible, the size by
    its frequency for the kind, and the time since the previous message by its frequency.
    """
    moves = moves_of(training)
    _check(len(moves))
    sizes = {int(kind): moves.size[moves.kind == kind] for kind in np.unique(moves.kind)}

    def draws(rng: np.random.Generator) -> Iterator[Move]:
        while True:
            head, gap = moves.row(int(rng.integers(len(moves)))), moves.gap_ns[rng.integers(len(moves))]
            yield head._replace(size=int(rng.choice(sizes[head.kind])), gap_ns=int(gap))

    return lambda start, events, rng: _continued(training.instrument, start, draws(rng), events=events, exact=True)


def _continued(
    instrument: Instrument, start: BookSnapshot, moves: Iterator[Move], *, events: int, exact: bool
) -> MarketDay:
    """Let messages happen in a book until so many have; those that cannot are left out."""
    book, clock, refused = LiveBook(start, tick=instrument.tick), start.time_ns, 0
    for move in moves:
        if len(book) == events or refused == MOST_TRIES:
            break
        happened = act(book, move, clock + move.gap_ns, exact=exact)
        clock += move.gap_ns if happened else 0
        refused = 0 if happened else refused + 1
    return book.day(instrument)


def _check(count: int) -> None:
    if not count:
        raise InputError(
            "no training flow to resample",
            where="a baseline generator",
            expected="training sequences of at least two messages, with orders in their books",
            was="none",
            remedy="pass a longer day as training flow",
        )
