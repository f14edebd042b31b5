"""The built-in feed: simulated trading days, so that everything runs without a download or a licence."""

import dataclasses
import datetime
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import Events, Flag, Kind
from lob_jax.feeds.feed import STRICT, DaySource, Reading
from lob_jax.feeds.reading.report import reading_report
from lob_jax.feeds.reading.store import EventStore
from lob_jax.simulation.arrivals import Arrivals, new_arrivals
from lob_jax.simulation.flow import compile_flow
from lob_jax.simulation.flow_parameters import FlowParameters
from lob_jax.simulation.matching import Engine, events_so_far, new_engine, resting_orders
from lob_jax.simulation.order_flow import open_book, run_session

SYMBOL = "SYN"
FIRST_DAY = "2024-01-02"
EVENTS = 150_000  # expected per day by default
BESIDE = 2**32 - 1  # ends the seeds of `SessionsFeed`
LEVELS = 1024  # capacity of a side of the simulated book; the flow keeps far fewer


def simulate_day(
    parameters: FlowParameters, *, seed: int | Sequence[int], events: int, trading_day: str, symbol: str = SYMBOL
) -> MarketDay:
    """Simulate one session; the same arguments give the same day, bit for bit.

    The starting book consists of simulated orders with ids.

    Args:
      parameters: of the order flow.
      seed: one integer or several.
      events: expected number of events; the actual number varies by a few per cent from seed to seed.
      trading_day: ISO date.
      symbol: the instrument's name.

    Raises:
      InputError: fewer than one event.
    """
    if events < 1:
        raise InputError(
            "too few simulated events",
            where="simulate_day, events",
            expected="at least 1",
            was=events,
            remedy="ask for as many events as a day should have",
        )
    instrument = Instrument(
        symbol=symbol, venue="SIM", trading_day=trading_day, time_zone="America/New_York", tick=parameters.tick
    )
    return simulate_session(parameters, instrument, seed=seed, events=events)


def simulate_session(
    parameters: FlowParameters, instrument: Instrument, *, seed: int | Sequence[int], events: int
) -> MarketDay:
    """Simulate one session of a given instrument, whose tick is that of the parameters; see `simulate_day`."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    open_ns = instrument.midnight_ns() + parameters.open_s * NS_PER_SECOND
    flow = compile_flow(parameters)
    engine = _engine_for(parameters, events)
    open_book(engine, flow, parameters.open_price * parameters.tick, rng)
    start = resting_orders(engine, open_ns)
    run_session(engine, flow, _arrivals_for(parameters, events), open_ns, _draw_halts(parameters, rng), rng)
    simulated = events_so_far(engine)
    traded = np.isin(simulated.kind, (Kind.EXECUTE, Kind.EXECUTE_HIDDEN))
    simulated = simulated.replace(flags=simulated.flags | np.where(traded, Flag.AGGRESSOR_KNOWN, 0).astype(np.uint16))
    report = _report(parameters, seed, events, simulated)
    return MarketDay(instrument, start, simulated, Corrections.none(), report)


def business_days(first: str, count: int) -> list[str]:
    """Return the ISO dates of `count` consecutive days from Monday to Friday, from `first` on."""
    found, day = [], datetime.date.fromisoformat(first)
    while len(found) < count:
        if day.weekday() < 5:
            found.append(day.isoformat())
        day += datetime.timedelta(days=1)
    return found


class SyntheticFeed:
    """Simulated days of one or more independent instruments; a day's seed combines the feed's seed and its position."""

    def __init__(
        self,
        days: int = 1,
        events: int = EVENTS,
        seed: int = 0,
        *,
        parameters: FlowParameters | None = None,
        first_day: str = FIRST_DAY,
        symbols: Sequence[str] = (SYMBOL,),
    ):
        """Define the days, without simulating them yet.

        Args:
          days: number of business days per symbol.
          events: expected events per day.
          seed: 0 or more.
          parameters: of the order flow; None for the defaults.
          first_day: ISO date of the first business day.
          symbols: instrument names.
        """
        if days < 1 or seed < 0:
            raise InputError(
                "the synthetic feed has no days",
                where="SyntheticFeed, days and seed",
                expected="days >= 1 and seed >= 0",
                was=(days, seed),
                remedy="ask for one day or more, with a seed that is not negative",
            )
        self.events, self.seed, self.symbols = events, seed, tuple(symbols)
        self.parameters = parameters or FlowParameters()
        self._index = {day: index for index, day in enumerate(business_days(first_day, days))}

    def days(self, path: pathlib.Path | None = None) -> list[DaySource]:
        """List the days, oldest first; the path is ignored."""
        del path
        return [DaySource(None, symbol, day) for day in self._index for symbol in self.symbols]

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return everything that determines the content of the given days, as plain JSON values."""
        parameters = dataclasses.asdict(self.parameters)
        wanted = [day.trading_day for day in days]
        return {"seed": self.seed, "days": wanted, "events": self.events, "parameters": parameters}

    def read(self, day: DaySource | pathlib.Path | str, reading: Reading = STRICT) -> MarketDay:
        """Simulate a day that `days` lists, or the day of the first symbol with the given ISO date.

        Raises:
          InputError: the feed has no such day.
        """
        symbol = day.symbol if isinstance(day, DaySource) else self.symbols[0]
        date = day.trading_day if isinstance(day, DaySource) else str(day)
        if date not in self._index or symbol not in self.symbols:
            raise InputError(
                "the synthetic feed has no such day",
                where="SyntheticFeed.read",
                expected=list(self._index),
                was=f"{symbol} {date}",
                remedy="pick one of the days that days() lists",
            )
        # The first symbol adds nothing to the seed: its days equal those of a feed with this symbol only.
        seed = (self.seed, self._index[date], *([number] if (number := self.symbols.index(symbol)) else []))
        made = simulate_day(self.parameters, seed=seed, events=self.events, trading_day=date, symbol=symbol)
        return _stored(made, reading)


@dataclasses.dataclass(frozen=True)
class Session:
    """A session to simulate.

    Attributes:
      instrument: the instrument on its trading day.
      parameters: of the order flow, with the tick of the instrument.
      events: expected number of events.
    """

    instrument: Instrument
    parameters: FlowParameters
    events: int


class SessionsFeed:
    """Simulated sessions of different instruments, hours and prices; the seed of each has the feed's and its place."""

    def __init__(self, sessions: Sequence[Session], seed: int):
        """Define the days: the sessions, oldest first, and a seed of 0 or more."""
        self.sessions, self.seed = tuple(sessions), seed

    def days(self, path: pathlib.Path | None = None) -> list[DaySource]:
        """List the days, in the order of the sessions; the path is ignored."""
        del path
        return [DaySource(None, one.instrument.symbol, one.instrument.trading_day) for one in self.sessions]

    def inputs(self, days: Sequence[DaySource]) -> dict[str, Any]:
        """Return everything that determines the content of the given days, as plain JSON values."""
        return {"seed": self.seed, "sessions": [dataclasses.asdict(self.sessions[self._number(day)]) for day in days]}

    def read(self, day: DaySource | pathlib.Path | str, reading: Reading = STRICT) -> MarketDay:
        """Simulate a day that `days` lists.

        Raises:
          InputError: the feed has no such day.
        """
        number = self._number(day)
        one = self.sessions[number]
        # No seed of a `SyntheticFeed` ends like this one: flow beside a simulated market differs from that market.
        seed = (self.seed, number, BESIDE)
        return _stored(simulate_session(one.parameters, one.instrument, seed=seed, events=one.events), reading)

    def _number(self, day: DaySource | pathlib.Path | str) -> int:
        listed = self.days()
        if not isinstance(day, DaySource) or day not in listed:
            raise InputError(
                "the simulated sessions have no such day",
                where="SessionsFeed.read",
                expected=[f"{one.symbol} {one.trading_day}" for one in listed],
                was=day,
                remedy="pick one of the days that days() lists",
            )
        return listed.index(day)


def _stored(day: MarketDay, reading: Reading) -> MarketDay:
    """Return a day with its events where the reading keeps them."""
    store = EventStore(reading.store)
    store.append(day.events)
    events, corrections = store.finish()
    return dataclasses.replace(day, events=events, corrections=corrections)


def _engine_for(parameters: FlowParameters, events: int) -> Engine:
    """Return an engine with room for 1.5 times the expected events, a margin, and the opening book."""
    room = events + events // 2 + 20_000
    return new_engine(orders=room + 20_000, levels=LEVELS, events=room)


def _arrivals_for(parameters: FlowParameters, events: int) -> Arrivals:
    return new_arrivals(
        scales_ns=parameters.excite_scales_ns,
        offspring=parameters.excite_offspring,
        shape=parameters.day_shape,
        span_ns=float((parameters.close_s - parameters.open_s) * NS_PER_SECOND),
        count=events / parameters.events_per_action,
    )


def _draw_halts(parameters: FlowParameters, rng: np.random.Generator) -> np.ndarray:
    """Return int64 [H, 3]: when each halt begins, quoting resumes and trading resumes, in ns since the open."""
    session_s = parameters.close_s - parameters.open_s
    begins = np.sort(rng.random(rng.poisson(parameters.halts_a_day)) * session_s)
    length_s = parameters.halt_s + parameters.quote_only_s
    apart = begins[np.diff(begins, prepend=-np.inf) > length_s]
    moments = apart[:, None] + np.array([0.0, parameters.halt_s, length_s])
    return np.rint(moments * NS_PER_SECOND).astype(np.int64)


def _report(parameters: FlowParameters, seed: int | Sequence[int], expected: int, events: Events) -> dict[str, Any]:
    described = json.dumps(dataclasses.asdict(parameters), sort_keys=True)
    return reading_report(
        "synthetic",
        events,
        inputs={},
        rows_read=len(events),
        dropped={},
        faults=[],
        seed=seed if isinstance(seed, int) else list(seed),
        events_expected=expected,
        parameters_sha256=hashlib.sha256(described.encode()).hexdigest(),
    )
