"""The counts that predict events: a proper distribution over all events, local, and better the more they have seen."""

import math

import numpy as np
import pytest

from lob_jax.events.schema import Kind
from lob_jax.export.reference.event_counts import (
    CODES,
    PLACES,
    SHAPES,
    EventCounts,
    codes_of,
    signed_codes,
    smoothed,
)
from lob_jax.export.reference.features import Columns, columns_of
from lob_jax.feeds.synthetic import SyntheticFeed

FEED = SyntheticFeed(days=3, events=3000)
DAYS = [FEED.read(day) for day in FEED.days()]
TICK = DAYS[0].instrument.tick


def fitted(days, digits=5):
    counts = EventCounts.nothing(digits=digits)
    for day in days:
        counts.add(columns_of(day.events), tick=TICK, first=0)
    return counts


COUNTS = fitted(DAYS[:2])
LEAD = 40
CONTEXT = columns_of(DAYS[2].events[1000 : 1000 + LEAD])


def with_last(context, **last):
    """Return events with one more, which is as the last one where nothing else is given."""
    columns = context._asdict()
    return Columns(*(np.append(column, last.get(name, column[-1])) for name, column in columns.items()))


def parts(context, **last):
    """Return the probabilities of the decisions on the last event: class, price, size and gap."""
    _, (d, own) = COUNTS._known(with_last(context, **last), tick=TICK, first=LEAD)
    parts = (COUNTS._action, COUNTS._price, COUNTS._size, COUNTS._gap)
    return [math.exp(part(d, own)[-1]) for part in parts]


def numbers_of_codes():
    """Return of each number code the smallest number, and how many there are."""
    numbers = [(code, 1) for code in range(10)]
    for more in range(11):
        numbers += [(lead * 10**more, 10**more) for lead in range(10, 100)]
    return numbers


NUMBERS = numbers_of_codes()
SIGNED = [(sign * number, count) for sign in (1, -1) for number, count in NUMBERS if (number, sign) != (0, -1)]


def test_the_codes_of_numbers_are_those_of_tokens():
    smallest = np.array([number for number, _ in NUMBERS])
    code, more = codes_of(smallest)
    assert code.tolist() == list(range(CODES)) and (10**more).tolist() == [count for _, count in NUMBERS]
    code, _ = codes_of(smallest + np.array([count for _, count in NUMBERS]) - 1)
    assert code.tolist() == list(range(CODES))
    assert codes_of(np.array([10**15]))[0].tolist() == [CODES - 1]
    assert signed_codes(np.array([3, -3, 0]))[0].tolist() == [3, CODES + 3, 0]


def test_an_event_is_as_likely_as_its_decisions_together():
    events = columns_of(DAYS[2].events[1000 : 1000 + LEAD + 1])
    whole = COUNTS.log_prob(events, tick=TICK, first=LEAD)
    assert math.log(math.prod(parts(CONTEXT, **{n: getattr(events, n)[-1] for n in events._fields}))) == pytest.approx(
        whole[0]
    )


def test_the_probabilities_of_all_kinds_and_sides_sum_to_one():
    classes = [(kind, side) for kind in range(1, 7) for side in (1, -1)]
    total = sum(parts(CONTEXT, kind=kind, side=side)[0] for kind, side in classes)
    codes = 7  # of a CONTROL event
    assert total + codes * parts(CONTEXT, kind=Kind.CONTROL, side=0)[0] == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("digits", [2, 5, 12])
def test_the_probabilities_of_all_gaps_sum_to_one(digits, monkeypatch):
    """Of each code one number, as often as there are numbers of so many digits; and any number of 10^12 ns more."""
    monkeypatch.setitem(COUNTS.__dict__, "digits", np.array([digits]))
    last = int(CONTEXT.time_ns[-1])
    total = sum(min(count, 10 ** (digits - 2)) * parts(CONTEXT, time_ns=last + number)[3] for number, count in SIGNED)
    once, again = (parts(CONTEXT, time_ns=last + 5 + far)[3] for far in (0, 10**12))
    assert total / (1 - again / once) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("kind", [Kind.ADD, Kind.EXECUTE_HIDDEN])
def test_the_probabilities_of_all_prices_and_of_all_sizes_sum_to_one(kind):
    """The latest events are near each other and small, so that their prices and sizes are codes of their own."""
    unit = TICK if kind == Kind.ADD else 1
    near = np.array([0, 3, -2, 0, 5, 3, 1, -4, 0, 2] * (LEAD // 10))
    context = Columns(
        CONTEXT.time_ns,
        kind=np.full(LEAD, kind, np.uint8),
        side=np.ones(LEAD, np.int8),
        price=10**14 + unit * near,
        size=np.arange(LEAD) % 7 + 1,
    )
    last = int(context.price[-1])
    each = [count * parts(context, price=last - unit * number)[1] for number, count in SIGNED]
    assert sum(each) == pytest.approx(1, rel=1e-9) and max(each) > 0.05
    for price in (last, last - 3 * unit, last + 50 * unit):
        found = [(parts(context, price=price, size=number)[2], 1) for number, _ in NUMBERS]
        found += [
            (parts(context, price=price, size=number + 1)[2], count - 1) for number, count in NUMBERS if count > 1
        ]
        assert sum(p * count for p, count in found) == pytest.approx(1, rel=1e-9)


def test_an_event_is_predicted_from_the_latest_events_alone():
    columns = columns_of(DAYS[2].events)
    whole = COUNTS.log_prob(columns, tick=TICK, first=0)
    assert np.isnan(whole[:2]).all() and not np.isnan(whole[20:]).any()
    for at in (500, 1234):
        short = Columns(*(column[at - 64 : at + 3] for column in columns))
        np.testing.assert_allclose(COUNTS.log_prob(short, tick=TICK, first=64), whole[at : at + 3])


def test_an_event_without_one_on_its_side_before_it_is_not_predicted():
    columns = columns_of(DAYS[2].events[:6])._replace(side=np.array([1, 1, 1, -1, -1, 1], np.int8))
    found = COUNTS.log_prob(columns, tick=TICK, first=1)
    assert np.isnan(found).tolist() == [True, False, True, False, False]


def test_events_before_the_first_are_context_and_are_not_counted():
    columns = columns_of(DAYS[0].events[:100])
    counts = EventCounts.nothing(digits=5)
    counts.add(columns, tick=TICK, first=60)
    assert counts.action.sum() == counts.gap.sum() == counts.skip[1] == 40
    orders = np.count_nonzero(columns.kind[60:] != Kind.CONTROL)
    assert counts.place.sum() == counts.same.sum() == orders
    assert counts.distance.sum() == counts.place[:, PLACES].sum()
    assert counts.size.sum() == counts.same[..., 0].sum()


def test_what_was_counted_makes_the_same_market_likely():
    columns = columns_of(DAYS[2].events)
    bits = [
        -counts.log_prob(columns, tick=TICK, first=20).mean() / math.log(2)
        for counts in (EventCounts.nothing(digits=5), fitted(DAYS[:1]), COUNTS)
    ]
    assert bits[2] < bits[1] < 31 < 40 < bits[0]


def test_counts_are_used_as_soon_as_they_are_added():
    columns, counts = columns_of(DAYS[2].events[:300]), EventCounts.nothing(digits=5)
    before = counts.log_prob(columns, tick=TICK, first=20).mean()
    counts.add(columns, tick=TICK, first=0)
    assert counts.log_prob(columns, tick=TICK, first=20).mean() > before + 5


def test_a_size_that_is_round_has_no_uniform_digits():
    """Of sizes from 100 to 109, 100 is the most frequent one; the rest share what it leaves."""
    sizes = np.array([100] * 9 + [103, 500, 700, 900]).repeat(20)
    np.random.default_rng(0).shuffle(sizes)
    rows = len(sizes)
    events = Columns(np.arange(rows), np.full(rows, 1), np.ones(rows, int), np.arange(rows) * TICK * 20, sizes)
    counts = EventCounts.nothing(digits=5)
    counts.add(events, tick=TICK, first=0)
    assert counts.zeros[0, 1] > 2 * counts.zeros[0, 0] > 0
    share = (counts.zeros[0, 1] + 0.5) / (counts.zeros[0].sum() + 1)
    _, (d, own) = counts._known(events, tick=TICK, first=0)
    plain = np.flatnonzero((d.same == 0) & (np.arange(rows) > 2))
    ratio = {size: np.exp(counts._size(d, own)[plain[sizes[plain] == size]][0]) for size in (100, 103)}
    assert ratio[103] / ratio[100] == pytest.approx((1 - share) / 9 / share)


def test_smoothing_is_that_of_witten_and_bell():
    found = smoothed(np.array([[3, 1, 0], [0, 0, 0]]), np.array([0.5, 0.25, 0.25]))
    np.testing.assert_allclose(found, [[(3 + 1) / 6, 1.5 / 6, 0.5 / 6], [0.5, 0.25, 0.25]])


def test_all_counts_have_their_shapes():
    assert {name: getattr(COUNTS, name).shape for name in SHAPES} == SHAPES
