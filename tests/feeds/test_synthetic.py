"""Simulated days: plausible events of a market, and the same ones for the same seed."""

import dataclasses

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob_jax.book.replay import replay
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import COLUMNS, Code, Kind
from lob_jax.feeds.feed import DaySource
from lob_jax.feeds.synthetic import Session, SessionsFeed, SyntheticFeed, business_days, simulate_day
from lob_jax.simulation.arrivals import new_arrivals, wait
from lob_jax.simulation.flow import SHIFT, compile_flow
from lob_jax.simulation.flow_parameters import Distribution, FlowParameters
from lob_jax.simulation.order_flow import draw

DAY = "2024-01-02"
EVENTS = 20_000
HALTING = dataclasses.replace(FlowParameters(), halts_a_day=6.0, halt_deletes=0.5)


@pytest.fixture(scope="module")
def day():
    return simulate_day(FlowParameters(), seed=3, events=EVENTS, trading_day=DAY)


@pytest.fixture(scope="module")
def halted():
    return simulate_day(HALTING, seed=1, events=EVENTS, trading_day=DAY)


def states_of(day, levels=10):
    return replay(day, levels=levels)


@numba.njit
def shifts(flow, count, rng):
    return np.array([draw(flow, SHIFT, rng) for _ in range(count)])


def arrival_times(arrivals, span, seed):
    rng, times, now = np.random.Generator(np.random.PCG64(seed)), [], 0
    while now < span:
        now += wait(arrivals, now, rng)
        times.append(now)
    return np.array(times[:-1])


def same_events(first, second):
    return len(first) == len(second) and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in COLUMNS
    )


def broken_rules(day):
    """Return the violations of the venue's rules that a book of lists finds in the events."""
    queues, broken, known = {1: {}, -1: {}}, [], set()
    names = ("kind", "side", "price", "size", "order_id")
    opening = [getattr(day.start, name).tolist() for name in names[1:]]
    rows = list(zip([int(Kind.ADD)] * len(day.start), *opening, strict=True))
    rows += list(zip(*(getattr(day.events, name).tolist() for name in names), strict=True))
    for number, (kind, side, price, size, order_id) in enumerate(rows, start=-len(day.start)):
        if kind in (Kind.EXECUTE_HIDDEN, Kind.CONTROL):
            continue
        own, other = queues[side], queues[-side]
        if kind == Kind.ADD:
            crosses = other and side * price >= side * (min if side > 0 else max)(other)
            if order_id in known or order_id == 0 or crosses:
                broken.append((number, "added twice, without an id, or across the book"))
            known.add(order_id)
            own.setdefault(price, []).append([order_id, size])
            continue
        queue = own.get(price, [])
        found = next((entry for entry in queue if entry[0] == order_id), None)
        if found is None or found[1] < size or (kind == Kind.DELETE) != (found[1] == size and kind != Kind.EXECUTE):
            broken.append((number, "takes what is not there"))
            continue
        if kind == Kind.EXECUTE and (queue[0] is not found or price != (max if side > 0 else min)(own)):
            broken.append((number, "an execution not at the front of the best queue"))
        found[1] -= size
        if found[1] == 0:
            queue.remove(found)
            if not queue:
                del own[price]
    return broken


def test_every_event_is_one_that_a_venue_could_report(day, halted):
    assert broken_rules(day) == broken_rules(halted) == []
    counts = np.bincount(day.events.kind, minlength=8)
    assert (counts[[Kind.ADD, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN]] > 100).all()


def test_a_broken_rule_is_seen(day):
    events = day.events
    trades = np.flatnonzero(events.kind == Kind.EXECUTE)
    price = events.price.copy()
    price[trades[5]] -= 100 * events.side[trades[5]]
    assert broken_rules(dataclasses.replace(day, events=events.replace(price=price)))


def test_replay_finds_nothing_odd_and_the_book_is_never_crossed_nor_thin(day):
    states = states_of(day)
    assert not any(states.counts.values())
    assert (states.size > 0).all()
    assert (states.price[:, 1, 0] > states.price[:, 0, 0]).all()


def test_the_same_seed_gives_the_same_day_and_another_seed_another(day):
    again = simulate_day(FlowParameters(), seed=3, events=EVENTS, trading_day=DAY)
    other = simulate_day(FlowParameters(), seed=4, events=EVENTS, trading_day=DAY)
    assert same_events(day.events, again.events)
    assert not same_events(day.events, other.events)
    np.testing.assert_array_equal(day.start.size, again.start.size)


def test_the_day_is_that_of_the_instrument(day):
    assert (day.instrument.symbol, day.instrument.venue, day.instrument.trading_day) == ("SYN", "SIM", DAY)
    assert (day.instrument.tick, day.instrument.price_scale) == (100, 10_000)
    opens = day.instrument.midnight_ns() + 34_200 * NS_PER_SECOND
    closes = opens + 23_400 * NS_PER_SECOND
    assert day.start.time_ns == opens
    assert opens < day.events.time_ns[0] and day.events.time_ns[-1] < closes
    assert day.events.time_ns[-1] > closes - 600 * NS_PER_SECOND
    assert (np.diff(day.events.time_ns) >= 0).all()
    assert abs(len(day.events) / EVENTS - 1) < 0.25
    assert len(day.corrections) == 0 and day.start.window == 0
    assert (day.start.order_id > 0).all() and len(set(day.start.order_id.tolist())) == len(day.start)
    assert day.report["rows_kept"] == len(day.events) == sum(day.report["kinds"].values())


def test_hidden_trades_lie_inside_the_spread_now_and_then_off_the_tick():
    parameters = dataclasses.replace(FlowParameters(), half_tick=0.5)
    day = simulate_day(parameters, seed=1, events=EVENTS, trading_day=DAY)
    hidden = day.events.kind == Kind.EXECUTE_HIDDEN
    best, price = states_of(day, levels=1).price[:-1, :, 0][hidden], day.events.price[hidden]
    assert ((best[:, 0] < price) & (price < best[:, 1])).all()
    assert (day.events.order_id[hidden] == 0).all()
    assert set((price % 100).tolist()) == {0, 50}
    assert (day.events.price[~hidden] % 100 == 0).all()


def test_a_sweep_is_several_executions_on_one_time_stamp(day):
    trades = day.events[day.events.kind == Kind.EXECUTE]
    together = (np.diff(trades.time_ns) == 0) & (np.diff(trades.side) == 0)
    levels = together & (np.diff(trades.price) != 0)
    assert 0.05 < together.mean() < 0.6
    assert levels.any()
    assert (trades.side[1:] * np.diff(trades.price))[levels].max() < 0  # away from the other side


def test_gaps_span_from_below_a_microsecond_to_seconds(day):
    gaps = np.diff(day.events.time_ns)
    assert (gaps == 0).any() and ((gaps > 0) & (gaps < 1000)).any() and (gaps > NS_PER_SECOND).any()
    assert gaps.mean() > 20 * np.median(gaps)  # bursts


def test_nothing_trades_nor_rests_in_a_halt(halted):
    events = halted.events
    turns = np.flatnonzero(events.kind == Kind.CONTROL)
    codes = events.code[turns].tolist()
    assert len(codes) >= 6
    assert codes == ([Code.HALT, Code.RESUME_QUOTE, Code.RESUME_TRADE] * len(codes))[: len(codes)]
    assert (events.side[turns] == 0).all() and (events.price[turns] == 0).all() and (events.size[turns] == 0).all()
    for first, last, code in zip(turns, [*turns[1:], len(events)], codes, strict=True):
        kinds = set(events.kind[first + 1 : last].tolist())
        if code == Code.HALT:
            assert kinds <= {Kind.DELETE, Kind.CANCEL}
        elif code == Code.RESUME_QUOTE:
            assert not kinds & {Kind.EXECUTE, Kind.EXECUTE_HIDDEN}
        else:
            assert Kind.EXECUTE in kinds
    shut = events.time_ns[turns[1]] - events.time_ns[turns[0]]
    assert shut == 300 * NS_PER_SECOND


def test_days_follow_the_calendar_and_have_seeds_of_their_own():
    feed = SyntheticFeed(3, 1000, 7, first_day="2024-01-05")
    assert [day.trading_day for day in feed.days()] == ["2024-01-05", "2024-01-08", "2024-01-09"]
    first, second = (feed.read(day) for day in feed.days()[:2])
    assert first.instrument.trading_day == "2024-01-05"
    gaps = [np.diff(day.events.time_ns[:50]).tolist() for day in (first, second)]
    assert gaps[0] != gaps[1]
    assert same_events(second.events, SyntheticFeed(2, 1000, 7, first_day="2024-01-05").read("2024-01-08").events)
    assert business_days("2024-01-06", 1) == ["2024-01-08"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SyntheticFeed(0, 1000, 0),
        lambda: SyntheticFeed(1, 1000, -1),
        lambda: SyntheticFeed(1, 1000, 0).read("1999-01-01"),
        lambda: simulate_day(FlowParameters(), seed=0, events=0, trading_day=DAY),
        lambda: Distribution((0.0, 0.5), (1.0, 2.0)),
        lambda: Distribution((0.0, 1.0), (2.0, 1.0)),
        lambda: Distribution((0.0, 0.5, 0.5, 1.0), (1.0, 1.0, 2.0, 2.0)),
        lambda: FlowParameters(excite_offspring=(1.0,), excite_scales_ns=(1e6,)),
        lambda: FlowParameters(open_s=10, close_s=5),
        lambda: FlowParameters(level_target=11),
        lambda: FlowParameters(improve=(0.1, 0.2)),
    ],
)
def test_what_cannot_be_simulated_is_refused(make):
    with pytest.raises(InputError, match="remedy"):
        make()


def test_a_distribution_is_drawn_by_its_quantiles():
    distribution = Distribution((0.0, 0.25, 0.75, 1.0), (1.0, 5.0, 5.0, 9.0))
    flow = compile_flow(dataclasses.replace(FlowParameters(), shift=distribution))
    rng = np.random.Generator(np.random.PCG64(0))
    drawn = shifts(flow, 4000, rng)
    assert abs((drawn == 5).mean() - 0.5) < 0.03
    np.testing.assert_allclose(np.quantile(drawn, (0.125, 0.875)), (3, 7), atol=0.25)
    assert drawn.min() >= 1 and drawn.max() <= 9


def test_a_base_rate_alone_follows_the_shape_of_the_day():
    span = 10**12
    arrivals = new_arrivals(scales_ns=(1e3,), offspring=(0.0,), shape=(3.0, 1.0), span_ns=span, count=8000)
    times = arrival_times(arrivals, span, seed=1)
    early = (times < span // 2).mean()
    assert abs(len(times) / 8000 - 1) < 0.05
    assert abs(early - 0.75) < 0.02


def test_excitation_brings_offspring_at_its_own_time_scale():
    span = 10**13
    arrivals = new_arrivals(scales_ns=(1e4,), offspring=(0.5,), shape=(1.0,), span_ns=span, count=8000)
    gaps = np.diff(arrival_times(arrivals, span, seed=2))
    close = gaps < 10**6
    assert abs((len(gaps) + 1) / 8000 - 1) < 0.08
    # An event has no offspring with probability exp(-1/2), and the rest of its cluster fills no gap to the next one.
    assert abs(close.mean() - 0.5) < 0.03
    assert 0.7e4 < gaps[close].mean() < 3e4


@settings(max_examples=15)
@given(seed=st.integers(0, 2**63), events=st.integers(1, 1500), halts=st.sampled_from((0.0, 3.0)))
def test_any_seed_keeps_the_rules(seed, events, halts):
    parameters = dataclasses.replace(FlowParameters(), halts_a_day=halts)
    day = simulate_day(parameters, seed=seed, events=events, trading_day=DAY)
    assert broken_rules(day) == []
    assert not any(states_of(day, levels=1).counts.values())


def sessions():
    """Return two sessions, of instruments with other hours, ticks and prices."""
    for symbol, tick, price, open_s in (("AAA", 25, 12_000, 3_600), ("BBB", 1, 90_000, 7_200)):
        instrument = Instrument(symbol=symbol, venue="SIM", trading_day="2020-05-04", price_scale=1_000, tick=tick)
        parameters = FlowParameters(open_s=open_s, close_s=open_s + 1_800, open_price=price, tick=tick)
        yield Session(instrument, parameters, 4_000)


def test_sessions_are_simulated_each_with_its_own_instrument_hours_and_price():
    feed = SessionsFeed(list(sessions()), seed=5)
    assert feed.days() == [DaySource(None, symbol, "2020-05-04") for symbol in ("AAA", "BBB")]
    for day, session in zip(map(feed.read, feed.days()), sessions(), strict=True):
        assert day.instrument == session.instrument and 2_500 < len(day.events) < 6_000
        seconds = (day.events.time_ns - day.instrument.midnight_ns()) / NS_PER_SECOND
        assert seconds.min() >= session.parameters.open_s and seconds.max() < session.parameters.close_s
        assert not (day.events.price[day.events.kind == Kind.ADD] % session.parameters.tick).any()
        first = states_of(day).mid2()[0] / 2 / session.parameters.tick
        assert abs(first - session.parameters.open_price) < 100


def test_the_seed_of_a_session_has_the_seed_of_the_feed_and_its_place():
    one, other = sessions()
    same = dataclasses.replace(one, instrument=dataclasses.replace(one.instrument, symbol="CCC"))
    feed, again, third = SessionsFeed((one, same), 5), SessionsFeed((one, other), 5), SessionsFeed((one,), 6)
    first, second = map(feed.read, feed.days())
    days = (first, again.read(again.days()[0]), second, third.read(third.days()[0]))
    kinds = [day.events.kind[:500].tolist() for day in days]
    assert kinds[0] == kinds[1] and kinds[2] != kinds[0] != kinds[3]
    assert feed.inputs(feed.days())["seed"] == 5 and feed.inputs(feed.days()[1:]) != feed.inputs(feed.days()[:1])


def test_a_session_that_is_not_listed_is_refused():
    with pytest.raises(InputError, match="no such day"):
        SessionsFeed(list(sessions()), 0).read(DaySource(None, "CCC", "2020-05-04"))
