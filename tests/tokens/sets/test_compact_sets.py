"""The sets of compact tokens against brute force: every event that the book allows, put into its bins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.errors import InputError
from lob_jax.events.halts import CLOSED, CLOSES, OPEN, QUOTING
from lob_jax.events.schema import ASK, BID, Code, Events, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import GAP_BINS, PRICE_BINS, SIZE_BINS, CompactBins
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.escape import Escape
from lob_jax.tokens.sets.planes import unpack
from lob_jax.tokens.sets.streams import compact_sets, rules_of
from tests.tokens.sets.made import TICK, book, day_of, days, drawn
from tests.tokens.sets.reference import FAR, LOTS, Reference

PRICES = (-FAR, -1000, -20, -1, 0, 1, 2, 23, 30, 1400, FAR + 1)
SIZES = (1, 2, 3, 5, 96, 100, 101, 128, 950, 1190, LOTS + 1)
GAPS = (0, 1, 10, 10**4, 10**6, 10**15)
BINS = CompactBins(
    price_edges=(PRICES,) * 6,
    price_values=(PRICES[:-1],) * 6,
    size_edges=(SIZES,) * 6,
    size_values=(SIZES[:-1],) * 6,
    gap_edges=GAPS,
    gap_values=(GAPS[:-1],) * 7,
)
COMPACT = CompactTokenizer(BINS)


def bins_of(distances, sizes_at):
    """Return which pairs of bins contain an event, bool [PRICE_BINS, SIZE_BINS]; one distance of a bin is enough."""
    fits = np.zeros((PRICE_BINS, SIZE_BINS), bool)
    for distance in distances:
        sizes = np.array(list(sizes_at(distance)), int)
        at = np.searchsorted(PRICES, distance, side="right") - 1
        fits[at, np.searchsorted(SIZES, sizes, side="right") - 1] = True
    return fits


def some(distances, levels):
    """Return, of the distances of each bin, those of levels and the first two others."""
    free = distances[~np.isin(distances, levels)]
    firsts = [part[:2] for part in np.split(free, np.searchsorted(free, PRICES[1:-1]))]
    return np.concatenate([*firsts, distances[np.isin(distances, levels)]]).astype(int)


def allowed(reference):
    """Return the set in the place of the next token, bool [V], by brute force."""
    allowed_V = np.zeros(v.VOCAB_SIZE, bool)
    allowed_V[v.EOS] = True
    for code in Code:
        if code and reference.control(code):
            allowed_V[v.CONTROL_BASE + code + v.CONTROL_GAP * np.arange(GAP_BINS)] = True
    for kind in range(1, 7):
        for s, side in enumerate((BID, ASK)):
            origin = reference.book.reference(side)
            levels = [side * (origin - price) // reference.unit(kind) for price in reference.book.sides[side]]
            distances = some(reference.distances(kind, side), levels)
            fits = bins_of(distances, lambda d, kind=kind, side=side: reference.sizes(kind, side, d))
            low = np.repeat(fits.ravel(), GAP_BINS)
            start = kind * v.CLASS_SIZE + s * v.CLASS_SIZE // 2
            allowed_V[start : start + v.CLASS_SIZE // 2] = low
    return allowed_V


def take(reference, events, i, corrections):
    """Apply an event and its corrections to the reference's book."""
    reference.known, kind, code = {}, int(events.kind[i]), int(events.code[i])
    if kind == Kind.CONTROL:
        reference.closed = CLOSES.get(code, reference.closed)
        if code == Code.CLEAR:
            reference.book.clear()
    else:
        reference.book.apply(kind, *(int(getattr(events, name)[i]) for name in ("side", "price", "size")), 0)
    for row in np.flatnonzero(corrections.event == i):
        reference.book.correct(*(int(getattr(corrections, name)[row]) for name in ("side", "price", "size")))


def complete(tokens):
    """Return the tokens of the complete events."""
    heads = np.flatnonzero(v.field_of(tokens) == v.FIELD_HEAD)
    return tokens[: heads[-1]]


@settings(max_examples=25)
@given(
    day=days(),
    seed=st.integers(0, 2**32 - 1),
    closed=st.sampled_from([OPEN, QUOTING, CLOSED]),
    escapes=st.sampled_from([0.0, 0.2]),
)
def test_the_sets_are_those_of_brute_force(day, seed, closed, escapes):
    rules = rules_of(day, gap_digits=12)._replace(most_distance=FAR, most_lots=LOTS)
    how = {"closed": closed, "time_digits": None, "escapes": escapes, "most": 30}
    tokens, _ = drawn(day, rules, np.random.default_rng(seed), **how)
    day = day.with_events(ExactTokenizer().decode(complete(tokens), day))
    tokens = np.concatenate([COMPACT.encode(day), [v.EOS, v.PAD]]).astype(np.int64)
    sets = compact_sets(tokens, day, BINS, rules, closed=closed)
    found = unpack(sets.packed(np.arange(len(tokens))))
    reference = Reference(day, rules, closed=closed, time_digits=None)
    for i in range(len(day.events) + 1):
        expected = allowed(reference)
        assert np.flatnonzero(found[i] != expected).tolist() == []
        assert (sets.outside[i] == 0) == expected[tokens[i]]
        if i < len(day.events):
            take(reference, day.events, i, day.corrections)
    assert np.flatnonzero(found[-1]).tolist() == [v.PAD]


def test_the_book_is_the_true_one():
    """A cancellation names the order of 4 lots; the decoder, which has no names, would take it from that of 100."""
    rows = [(Kind.ADD, 4, 1), (Kind.ADD, 100, 2), (Kind.CANCEL, 2, 1), (Kind.DELETE, 100, 2)]
    columns = dict(zip(("kind", "size", "order_id"), np.array(rows).T, strict=True))
    same = {"side": np.full(4, BID), "price": np.full(4, 100 * TICK)}
    day = day_of(book((ASK, 103, 7, 0))).with_events(Events.from_columns(**columns, **same))
    assert not COMPACT.sets(COMPACT.encode(day), day).outside.any()
    unnamed = day.with_events(day.events.replace(order_id=np.zeros(4)))
    assert COMPACT.sets(COMPACT.encode(unnamed), unnamed).outside.tolist() == [0, 0, 0, Escape.NO_SUCH_ORDER]


def test_the_sets_of_some_tokens_are_those_among_all():
    day = day_of(book((BID, 100, 5, 0), (ASK, 103, 7, 0))).with_events(
        Events.from_columns(
            kind=np.array([Kind.ADD, Kind.EXECUTE, Kind.ADD]),
            side=np.array([BID, ASK, ASK]),
            price=TICK * np.array([101, 103, 102]),
            size=np.array([4, 7, 2]),
        )
    )
    tokens = COMPACT.encode(day)
    whole, some = COMPACT.sets(tokens, day), COMPACT.sets(tokens, day, rows=(1, 3))
    for found, expected in zip(some, whole.between(1, 3), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert some.rows == 2 and whole.rows == 3


def test_more_tokens_than_events_are_refused():
    day = day_of(book((BID, 100, 5, 0)))
    with pytest.raises(InputError, match="more compact tokens than events"):
        COMPACT.sets(np.array([v.BOS, 1000]), day)
