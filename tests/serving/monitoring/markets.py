"""Simulated days, and what a model that was trained on some of them compares others with."""

import dataclasses
import functools

from lob_jax.events.schema import Events
from lob_jax.feeds.synthetic import simulate_day
from lob_jax.serving.requests import Feed, History, InSession
from lob_jax.simulation.flow_parameters import FlowParameters
from tests.export.reference.references import reference_of_days

DAYS = 3  # of training
EVENTS = 10_000  # of a day


@functools.cache
def day(seed, events=EVENTS):
    return simulate_day(FlowParameters(), seed=seed, events=events, trading_day=f"2024-03-{11 + seed % 4:02d}")


@functools.cache
def reference():
    """Return what the days with seeds 0 to DAYS - 1 look like."""
    return reference_of_days([day(seed) for seed in range(DAYS)], quality=None)


def at(events: Events, now_s: float) -> Events:
    """Return events that end at a time, UNIX seconds."""
    return dataclasses.replace(events, time_ns=events.time_ns - events.time_ns[-1:] + int(now_s * 1e9))


def opening(of):
    return History(of.start)


def feeds(events, session, *, owner="", step=20):
    """Yield the events of a feed, some at a time."""
    for first in range(0, len(events), step):
        yield Feed(InSession(session, owner), events[first : first + step])
