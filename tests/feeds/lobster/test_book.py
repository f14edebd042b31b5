"""Compare the feed's book with the replay, chunk by chunk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.replay import find_corrections
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.schema import Events
from lob_jax.feeds.lobster.book import FeedBook, start_book

PRICES = st.integers(1, 8)


@st.composite
def feed_days(draw):
    """Draw events, and rows of a book that agree with them only sometimes."""
    levels = draw(st.integers(1, 3))
    rows = draw(st.integers(1, 30))
    events = [
        (draw(st.integers(1, 7)), draw(st.sampled_from([1, -1])), 100 * draw(PRICES), draw(st.integers(1, 4)))
        for _ in range(rows)
    ]
    kind, side, price, size = np.array(events).T
    price_E2N, size_E2N = np.zeros((2, rows, 2, levels), np.int64)
    for row in range(rows):
        if row and draw(st.booleans()):
            price_E2N[row], size_E2N[row] = price_E2N[row - 1], size_E2N[row - 1]
            continue
        for s in range(2):
            shown = sorted(draw(st.sets(PRICES, max_size=levels)), reverse=s == 0)
            price_E2N[row, s, : len(shown)] = 100 * np.array(shown, np.int64)
            size_E2N[row, s, : len(shown)] = draw(st.lists(st.integers(1, 4), min_size=len(shown), max_size=len(shown)))
    columns = {"kind": kind, "side": side, "price": price, "size": size, "code": (kind == 7) * 1}
    return Events.from_columns(time_ns=np.arange(rows), **columns), price_E2N, size_E2N


def file_rows(price, size):
    """Return levels [E, 2, N] as the columns of an order-book file, int64 [4N, E]."""
    dummy = np.array([-9_999_999_999, 9_999_999_999])[:, None]
    both = np.stack([np.where(size > 0, price, dummy), size], axis=-1)[:, ::-1]
    return np.ascontiguousarray(both.transpose(2, 1, 3, 0).reshape(-1, len(price)))


@pytest.mark.slow
@settings(max_examples=150)
@given(day=feed_days(), cuts=st.sets(st.integers(1, 29), max_size=3))
def test_chunks_of_any_length_give_the_corrections_of_the_whole_day(day, cuts):
    events, price, size = day
    start = start_book(events, price[0], size[0], clock_ns=0)
    expected = find_corrections(events, start=start, price=price, size=size)
    book, table = FeedBook(start), file_rows(price, size)
    edges = [0, *sorted(cut for cut in cuts if cut < len(events)), len(events)]
    found = []
    for first, stop in zip(edges, edges[1:], strict=False):
        part = book.corrections(events[first:stop], table[:, first:stop], np.arange(first, stop) + 1)
        found += zip(*(part.event + first, part.side, part.price, part.size), strict=True)
    columns = (expected.event, expected.side, expected.price, expected.size)
    assert [tuple(map(int, row)) for row in found] == list(zip(*(column.tolist() for column in columns), strict=True))
    bid, ask = price[:, 0, 0], price[:, 1, 0]
    both = (size[:, :, 0] > 0).all(axis=1)
    counts = book.report()
    assert counts["crossed_rows"] == (both & (bid > ask)).sum()
    assert counts["locked_rows"] == (both & (bid == ask)).sum()
    assert counts["unexplained_rows"] == len(unexplained(found, price, size))
    assert book.unexplained_lines == [row + 1 for row in unexplained(found, price, size)][:10]


def unexplained(found, price, size):
    """Return the rows with a correction other than a level revealed behind those of a full side."""
    rows = set()
    for event, side, at, now in found:
        s = 0 if side > 0 else 1
        if event and not (size[event - 1, s, -1] > 0 and now > 0 and side * (price[event - 1, s, -1] - at) > 0):
            rows.add(int(event))
    return sorted(rows)


def test_more_corrections_than_there_was_room_for_are_kept():
    rows = 3000
    events = Events.from_columns(time_ns=np.arange(rows), kind=np.full(rows, 5), side=np.ones(rows), size=np.ones(rows))
    price = np.array([[[100], [300]], [[200], [400]]] * (rows // 2))
    start = BookSnapshot.empty(window=1)
    found = FeedBook(start).corrections(events, file_rows(price, price), np.arange(rows))
    assert len(found) == 2 + 3 * (rows - 1)  # one side improves, the other one loses its best
    last = [tuple(map(int, row)) for row in zip(found.side[-3:], found.price[-3:], found.size[-3:], strict=True)]
    assert last == [(1, 200, 200), (-1, 300, 0), (-1, 400, 400)]
    assert found.event[-3:].tolist() == [rows - 1] * 3


@pytest.mark.parametrize("clock", [5, 50])
def test_the_clock_of_the_start_is_no_later_than_the_first_event(clock):
    events = Events.from_columns(time_ns=np.array([20]), kind=np.array([5]), side=np.array([1]), size=np.array([1]))
    levels = np.array([[100], [300]])
    assert start_book(events, levels, levels, clock_ns=clock).time_ns == min(clock, 20)
