"""Mirrored windows are the windows of the mirrored market, array by array."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import reference_runs, snapshots_at
from lob_jax.data.labels.moves import Outlooks
from lob_jax.data.labels.regimes import Regimes
from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.augment.mirror import MirroredWindows
from lob_jax.data.windows.augment.reflection import MIRRORS, mirrored
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.data.windows.known import MAKERS, SETS, Beside
from lob_jax.data.windows.pairs import PairedDataset
from lob_jax.models.inputs import BY_NAME
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.seen import seen_in

FIRST, EVENTS, SUM = 40, 260, 20_000  # prices p and SUM - p mirror each other
BESIDE = Beside(
    names=(*MAKERS, SETS),
    regimes=Regimes((0.2, 0.6), (2.5,)),
    symbols=("TEST",),
    outlooks=Outlooks((1, 5), (0.0, 100.0)),
    tokenizer=ExactTokenizer(),
)


def other_side(day: MarketDay) -> MarketDay:
    """Return the mirrored day."""
    start, events, corrections = day.start, day.events, day.corrections
    order = np.argsort(start.side, kind="stable")  # its asks are the bids, which come first
    rows = {name: getattr(start, name)[order] for name in ("size", "order_id", "anonymous")}
    rows |= {"side": -start.side[order], "price": SUM - start.price[order]}
    turned = dataclasses.replace(start, last_best=SUM - start.last_best[::-1], seen=start.seen[::-1], **rows)
    priced = events.price > 0
    return MarketDay(
        instrument=day.instrument,
        start=turned,
        events=events.replace(side=-events.side, price=np.where(priced, SUM - events.price, events.price)),
        corrections=dataclasses.replace(corrections, side=-corrections.side, price=SUM - corrections.price),
        report={},
    )


@pytest.fixture(name="days", scope="module")
def days_fixture(make_day):
    """Return a day with both sides occupied from the start, and the mirrored one."""
    whole = make_day(FIRST + EVENTS, seed=2)
    whole = dataclasses.replace(whole, instrument=dataclasses.replace(whole.instrument, signed=True))  # no lowest price
    (start,) = snapshots_at(whole, np.array([FIRST]))
    assert start.seen.all()
    day = whole.part(FIRST, FIRST + EVENTS, start=start)
    return day, other_side(day)


def windows_of(day, tokenizer, kind=TokenBookDataset):
    shape = {"record_events": 80, "context": 32, "book_levels": 3, "flow_state": True}
    records = [record for _, record in make_records(day, [Part("train", 0, EVENTS, 0)], tokenizer, **shape)]
    beside = dataclasses.replace(BESIDE, tokenizer=tokenizer)
    return kind(records, context=60, time_buckets=288, evaluation=False, beside=beside)


def compact_for(day):
    before = np.concatenate([one for _, one in reference_runs(day, len(day.events))])
    return CompactTokenizer.fit([seen_in(day.events, before, day.instrument, day.start.time_ns)])


@pytest.mark.parametrize("kind", ["exact", "compact"])
def test_mirrored_windows_are_those_of_the_mirrored_market(days, kind):
    tokenizer = ExactTokenizer() if kind == "exact" else compact_for(days[0])
    one, other = (windows_of(day, tokenizer) for day in days)
    assert len(one) == len(other) > (5 if kind == "exact" else 1)
    differ = set()
    for index in range(len(one)):
        window, expected = one[index], other[index]
        found = mirrored(window)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=1e-6, err_msg=f"{name} of window {index}")
            assert found[name].dtype == array.dtype
        differ |= {name for name in expected if not np.array_equal(window[name], found[name])}
        for name, array in mirrored(found).items():
            np.testing.assert_array_equal(array, window[name])
    assert differ == set(MIRRORS) - ({"anchors"} if kind == "compact" else set())


def test_a_pass_has_each_window_and_its_mirror_image(days):
    windows = windows_of(days[0], ExactTokenizer())
    both = MirroredWindows(windows)
    assert (len(both), both.evaluation) == (2 * len(windows), False)
    for index in range(len(windows)):
        for name, array in windows[index].items():
            np.testing.assert_array_equal(both[index][name], array)
            np.testing.assert_array_equal(both[len(windows) + index][name], mirrored(windows[index])[name])
    assert {name: array.shape for name, array in both.blank().items()} == {
        name: array.shape for name, array in windows[0].items()
    }


def test_both_windows_of_a_pair_are_mirrored(days):
    pairs = windows_of(days[0], ExactTokenizer(), PairedDataset)
    pair, turned = pairs[1], MirroredWindows(pairs)[len(pairs) + 1]
    for row in (0, 1):
        alone = {name: array[row] for name, array in pair.items()}
        for name, array in mirrored(alone).items():
            np.testing.assert_array_equal(turned[name][row], array)


def test_every_array_of_a_window_is_considered():
    """An array that is new is either mirrored or named here."""
    same = {"scored", "example", "time_of_day", "day_of_week", "queue", "regime", "instrument", "event", "clock"}
    same |= {"price_memory", "shown", "peer_seen", "state", "kind", "log_volatility", "record", "position"}
    assert set(BY_NAME) == same | set(MIRRORS) and not same & set(MIRRORS)
