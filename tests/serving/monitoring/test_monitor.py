"""A monitor finds what has changed, whatever the pieces in which events come, and nothing on a day like training."""

import dataclasses

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.events.schema import Events
from lob_jax.export.reference.features import FEATURES
from lob_jax.export.reference.quality import BLOCK, FEWEST_BLOCKS
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.runs.reference import bins_of
from lob_jax.serving.monitoring import monitor as module
from lob_jax.serving.monitoring.drift import THRESHOLDS, WINDOW
from lob_jax.serving.monitoring.monitor import Monitor
from lob_jax.serving.requests import Scored
from tests.export.reference.references import QUALITY, reference_of_days

FEED = SyntheticFeed(days=3, events=10_000)
DAYS = [FEED.read(day) for day in FEED.days()]
REFERENCE = reference_of_days(DAYS[:2])
DAY = DAYS[2]
BID, ASK = 1_000_000, 1_001_000


def watched(events, *, size=256, reference=REFERENCE, **how):
    monitor = Monitor(reference, **how)
    for at in range(0, len(events), size):
        monitor.saw(events[at : at + size], bid=BID, ask=ASK)
    return monitor.report()


def scored(count, nats=-16.0):
    values = (0.2,) * count
    return Scored((nats,) * count, ("",) * count, values, values, values, values, values)


def test_a_day_like_those_of_training_does_not_drift():
    found = watched(DAY.events)
    assert found.seen == len(DAY.events) and found.outside_hours == 0
    assert tuple(found.drift) == FEATURES
    for name in ("class", "size", "gap", "step"):
        assert found.drift[name].events == WINDOW
        assert found.drift[name].excess < THRESHOLDS[name] / 4


@pytest.mark.parametrize(
    ("feature", "changed"),
    [
        ("size", DAY.events.replace(size=3 * DAY.events.size)),
        ("gap", DAY.events.replace(time_ns=DAY.events.time_ns[0] + (DAY.events.time_ns - DAY.events.time_ns[0]) // 10)),
        ("step", DAY.events.replace(price=DAY.events.price * 7)),
        ("class", DAY.events[(DAY.events.kind != 3) | (np.arange(len(DAY.events)) % 3 == 0)]),
    ],
)
def test_what_has_changed_drifts_alone(feature, changed):
    found = {name: watched(changed).drift[name].excess for name in ("class", "size", "gap", "step")}
    assert found[feature] > THRESHOLDS[feature]
    assert [name for name, excess in found.items() if excess > THRESHOLDS[name]] == [feature]


def test_spreads_are_those_of_the_quotes():
    spread = bins_of(DAYS[0], tick=DAYS[0].instrument.tick)["spread"]
    usual = int(np.bincount(spread).argmax())
    monitor = Monitor(REFERENCE, seen_window=4)
    for bid, ask in ((BID, BID + 100), (None, ASK), (BID, None), (BID, BID)):
        monitor.saw(DAY.events[:1], bid=bid, ask=ask)
    monitor.report()
    assert monitor._latest.of("spread")[0].tolist() == [2, 0, 0, 1]
    monitor.saw(DAY.events[:4], bid=BID, ask=BID + 100 * 8)  # known after the last one alone
    monitor.report()
    assert sorted(monitor._latest.of("spread")[0].tolist()) == [0, 0, 1, 7]
    assert usual > 2


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_that_come_in_pieces_are_the_same_events(size):
    events = DAY.events[:2500]
    pieces, whole = watched(events, size=size), watched(events)
    spreads = pieces.drift["spread"].events
    assert spreads == -(-len(events) // size)  # of spreads, those after each piece are known
    for report in (pieces, whole):
        report.drift.pop("spread")
    assert pieces == whole


def test_events_of_several_markets_are_apart():
    """A market's events between those of another have neither its gaps nor its steps."""
    alone, monitor = watched(DAY.events[:2000]), Monitor(REFERENCE)
    other = DAY.events.replace(price=DAY.events.price * 2, time_ns=DAY.events.time_ns + 10**9)
    mixed = Monitor(REFERENCE)
    for at in range(0, 2000, 10):
        for market, events in (("a", DAY.events), ("b", other)):
            monitor.saw(events[at : at + 10], bid=BID, ask=ASK, market=market)
            mixed.saw(events[at : at + 10], bid=BID, ask=ASK)
    found = monitor.report()
    assert found.drift["gap"].psi == pytest.approx(alone.drift["gap"].psi, abs=0.01)
    assert found.drift["gap"].events == 2 * 2000 - 2
    assert mixed.report().drift["step"].psi > found.drift["step"].psi + 0.1


def test_the_markets_that_are_remembered_are_those_that_were_seen_last(monkeypatch):
    monkeypatch.setattr(module, "MARKETS", 2)
    monitor = Monitor(REFERENCE)
    for market in ("a", "b", "a", "c"):
        monitor.saw(DAY.events[:1], bid=BID, ask=ASK, market=market)
        monitor.report()
    assert list(monitor._before) == ["a", "c"]


def test_events_wait_until_there_are_some_hundred(monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 4)
    monitor = Monitor(REFERENCE)
    for at, waiting in enumerate((1, 2, 3, 0, 1)):
        monitor.saw(DAY.events[at : at + 1], bid=BID, ask=ASK)
        assert sum(len(parts) for parts in monitor._waiting.values()) == waiting
    monitor.saw(Events.from_columns(), bid=BID, ask=ASK)
    assert monitor.report().seen == 5


def test_events_outside_the_hours_of_training_are_told():
    night = DAY.events.replace(time_ns=DAY.events.time_ns + 12 * 3600 * 10**9)
    assert watched(night[:3000]).outside_hours == 1
    half = Monitor(REFERENCE)
    for events in (DAY.events[:500], night[:1500]):
        half.saw(events, bid=BID, ask=ASK)
    assert half.report().outside_hours == 0.75


def test_nothing_has_a_report():
    found = Monitor(REFERENCE).report()
    assert (found.seen, found.scored, found.outside_hours, found.gain_change) == (0, 0, None, None)
    assert all(one.psi is None for one in found.drift.values())


def test_the_gain_over_counts_is_beside_that_of_validation():
    monitor, events = Monitor(REFERENCE), DAY.events
    for at in range(100, 1900, 100):
        monitor.scored(events[at : at + 100], scored(100), before=events[:at])
    found = monitor.report()
    assert found.scored == found.quality.events == found.quality.paired == 1800
    gain = -16.0 - found.quality.baseline_nats
    assert found.quality.gain_nats == pytest.approx(gain) and found.comparable
    assert found.gain_change == pytest.approx(gain - QUALITY.gain_nats)
    assert found.gain_change_se == pytest.approx(np.hypot(found.quality.gain_se, QUALITY.gain_se))
    assert (found.nats_change, found.nats_change_se) == (pytest.approx(-16.0 - QUALITY.nats), QUALITY.nats_se)


@pytest.mark.parametrize("quality", [None, dataclasses.replace(QUALITY, gain_nats=None, gain_se=None)])
def test_without_the_gain_of_validation_there_is_no_change(quality):
    monitor = Monitor(dataclasses.replace(REFERENCE, quality=quality, comparable=False))
    monitor.scored(DAY.events[:50], scored(50))
    found = monitor.report()
    assert found.gain_change is found.gain_change_se is None and not found.comparable


def test_few_scores_have_a_change_without_a_standard_error():
    monitor = Monitor(REFERENCE)
    monitor.scored(DAY.events[100 : 100 + BLOCK * FEWEST_BLOCKS - 1], scored(BLOCK * FEWEST_BLOCKS - 1))
    found = monitor.report()
    assert found.gain_change is not None and found.gain_change_se is None


def test_only_the_latest_scores_count():
    monitor = Monitor(REFERENCE, scored_window=100)
    monitor.scored(DAY.events[:100], scored(100, nats=-50.0))
    monitor.scored(DAY.events[100:200], scored(100, nats=-10.0))
    found = monitor.report()
    assert (found.scored, found.quality.events, found.quality.nats) == (200, 100, -10.0)


def test_scores_of_other_events_are_refused():
    with pytest.raises(InputError, match="not those of the events"):
        Monitor(REFERENCE).scored(DAY.events[:5], scored(4))
