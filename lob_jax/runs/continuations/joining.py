"""Join consecutive decoded records to one part of their day, in which every order has one id.

With ranks, the ids of a decoded record are its own: orders of its starting book have those of the feed, and orders that
it adds are counted on from the largest of them, so that the next record may give the same id to another order.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Sequence

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.events.schema import ANONYMOUS_ID, Events, Kind
from lob_jax.tokens.tokenizer import Tokenizer

_Queues = dict[tuple[int, int], tuple[list[int], list[tuple[int, bool]]]]


def joined(days: Sequence[MarketDay], leads: Sequence[int], tokenizer: Tokenizer) -> MarketDay:
    """Return consecutive records as one part of their day: all events of the first, and the own events of the others.

    With ranks, ids are those of decoding the whole part at once. An order that rests where the own events of a record
    begin is the one at the same place of the same queue in the book so far. Queues may differ, since the feed's ids,
    from which a record starts, need not agree with what ranks say; what a record removes from an order without a
    counterpart is taken from the order that the book's rule selects.

    Args:
      days: the records, see `read_record`, in order.
      leads: how many events of each are its lead; that of the first is kept.
      tokenizer: the tokenizer of the records.
    """
    day = days[0]
    for later, lead in zip(days[1:], leads[1:], strict=True):
        part = later.part(lead, len(later.events), start=later.start)
        if not tokenizer.vocabulary.has_ranks:
            day = _followed_by(day, part)
            continue
        (ours,), (theirs,) = snapshots_at(day, np.array([len(day.events)])), snapshots_at(later, np.array([lead]))
        added = int(np.count_nonzero(day.events.kind == Kind.ADD))
        named = named_in(part.events, theirs, ours, new=day.start.new_ids(added + len(part.events))[added:])
        whole = _followed_by(day, part.with_events(named))
        # Once queues differ, so may the order that a rank means: let every removal name the one that it takes from.
        ids = tokenizer.decode(tokenizer.encode(whole), whole).order_id
        day = whole.with_events(whole.events.replace(order_id=ids))
    return day


def named_in(events: Events, theirs: BookSnapshot, ours: BookSnapshot, *, new: np.ndarray) -> Events:
    """Return events that name the orders of another book; an order without a counterpart there loses its id.

    Args:
      events: events whose ids are unique.
      theirs: the book before them, whose orders they name.
      ours: a book with the same levels.
      new: the ids of the orders that they add, in sequence, uint64; there may be more.
    """
    ids = {int(theirs.order_id[row]): int(ours.order_id[other]) for row, other in counterparts(theirs, ours)}
    added = events.order_id[events.kind == Kind.ADD].tolist()
    ids |= zip(added, new[: len(added)].tolist(), strict=True)
    ids |= {0: 0, ANONYMOUS_ID: ANONYMOUS_ID}
    return events.replace(order_id=np.array([ids.get(name, 0) for name in events.order_id.tolist()], np.uint64))


def counterparts(book: BookSnapshot, other: BookSnapshot) -> Iterator[tuple[int, int]]:
    """Yield the rows of the orders that two books have at the same places of their queues.

    Where the queues of a level differ, these are the longest runs of orders of the same sizes.
    """
    theirs = _queues(other)
    for level, (rows, sizes) in _queues(book).items():
        other_rows, other_sizes = theirs.get(level, ([], []))
        if sizes == other_sizes:
            yield from zip(rows, other_rows, strict=True)
            continue
        matcher = difflib.SequenceMatcher(None, sizes, other_sizes, autojunk=False)
        for at, other_at, count in matcher.get_matching_blocks():
            yield from zip(rows[at : at + count], other_rows[other_at : other_at + count], strict=True)


def _queues(book: BookSnapshot) -> _Queues:
    """Return the rows of the orders of each level, from the front, and of each its size and whether it is anonymous."""
    queues: _Queues = {}
    columns = (getattr(book, name).tolist() for name in ("side", "price", "size", "anonymous"))
    for row, (side, price, size, anonymous) in enumerate(zip(*columns, strict=True)):
        rows, orders = queues.setdefault((side, price), ([], []))
        rows.append(row)
        orders.append((size, anonymous))
    return queues


def _followed_by(day: MarketDay, part: MarketDay) -> MarketDay:
    """Return a day followed by the events and corrections of the next part."""
    counts = len(day.events), len(part.events)
    corrections = Corrections.concatenate([day.corrections, part.corrections], events=counts)
    return dataclasses.replace(day, events=Events.concatenate([day.events, part.events]), corrections=corrections)
