"""Flows for tests: made by hand, or drawn at random with sequences that differ in length."""

import dataclasses

import numpy as np

from lob_jax.statistics.flow import Flow
from tests.market_day import INSTRUMENT


def made_flow(*sequences, books=None, tick=1):
    """Return a flow of messages (time_ns, kind, side, price, size, order_id).

    Args:
      sequences: lists of messages.
      books: for every message of all sequences, (bids, asks), lists of (price, size); None for one level, 99 by 101.
      tick: of the instrument.
    """
    messages = [message for sequence in sequences for message in sequence]
    books = [([(99, 10)], [(101, 10)])] * len(messages) if books is None else books
    levels = max([1, *(len(side) for book in books for side in book)])
    shown = np.zeros((2, len(messages), 2, levels), np.int64)
    for row, book in enumerate(books):
        for side, entries in enumerate(book):
            for level, entry in enumerate(entries):
                shown[:, row, side, level] = entry
    columns = np.array(messages, np.int64).reshape(-1, 6).T
    return Flow(
        dataclasses.replace(INSTRUMENT, tick=tick),
        np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])]).astype(np.int64),
        *(
            column.astype(dtype)
            for column, dtype in zip(columns, (np.int64, np.uint8, np.int8, np.int64, np.int64, np.uint64), strict=True)
        ),
        book_price=shown[0],
        book_size=shown[1],
    )


def random_flow(seed, *, sequences=12, length=120, ids=True, trades=True, levels=2, calm=0.8):
    """Return a flow whose messages are independent, whose mid walks at random; sequences are `length` long or less.

    Args:
      seed: of the draws.
      sequences: S.
      length: of the longest sequence.
      ids: whether orders have ids.
      trades: whether executions occur.
      levels: P.
      calm: share of messages that leave the mid where it is.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(length * 2 // 3, length + 1, sequences)
    count = int(lengths.sum())
    edges = np.concatenate([[0], np.cumsum(lengths)])
    step = np.where(rng.random(count) < calm, 0, rng.choice([-1, 1], count))
    bid = 1000 + np.cumsum(step)
    width = rng.integers(1, 4, count)
    best = np.stack([bid, bid + width], axis=1)
    price = best[:, :, None] + np.array([-1, 1])[None, :, None] * np.arange(levels)
    side = rng.choice([1, -1], count)
    return Flow(
        INSTRUMENT,
        edges,
        time_ns=np.cumsum(rng.integers(0, 10**8, count)),
        kind=rng.choice([1, 2, 3, 4, 5] if trades else [1, 2, 3], count).astype(np.uint8),
        side=side.astype(np.int8),
        price=np.where(side > 0, best[:, 0], best[:, 1]),
        size=rng.integers(1, 300, count),
        order_id=(rng.integers(1, count, count) if ids else np.zeros(count)).astype(np.uint64),
        book_price=price,
        book_size=rng.integers(1, 500, price.shape),
    )
