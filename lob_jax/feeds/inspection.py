"""What is in a day, before anything is built on it: numbers, and tables that show them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.book.replay import count_states, replay_runs
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import ASK, Code, Events, Flag, Kind
from lob_jax.feeds.feed import MarketDay
from lob_jax.jit import njit

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
_SHOWN_QUANTILES = (0.01, 0.5, 0.99)  # in a table, which must fit 80 columns
WINDOWS_NS = {"1 s": NS_PER_SECOND, "100 ms": NS_PER_SECOND // 10, "1 ms": NS_PER_SECOND // 1000}
_RUN_EVENTS = 1 << 17
_SAMPLED = 1 << 22  # numbers that quantiles are taken of, evenly spread over the day
_SHOWN = 10  # of the longest silences, of the CONTROL events
_TRADES = (Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CROSS)


def inspect_day(day: MarketDay, *, levels: int) -> dict[str, Any]:
    """Return what a day holds, as plain JSON values; times in ns, prices in currency, sizes in units of quantity.

    Works through the events run by run: they may be larger than the memory.

    Args:
      day: as a feed has read it.
      levels: occupied levels a side that depth is measured over.
    """
    instrument, events = day.instrument, day.events
    return {
        "instrument": instrument.to_dict(),
        "start_levels": len(np.unique(np.stack([day.start.side, day.start.price]), axis=1).T) if len(day.start) else 0,
        "span": _span(events, day.start.time_ns),
        "kinds": _kinds(events, instrument),
        "control": _control(events),
        "rates": _rates(events),
        "gaps": _gaps(events),
        "sizes": _quantiles(_sampled(events.size[events.kind != Kind.CONTROL]) / instrument.lot_scale),
        "trades": _trades(events, instrument),
        "book": _book(day, min(levels, day.start.window or levels)),
        "states": count_states(events, start=day.start, corrections=day.corrections),
        "report": day.report,
    }


def _span(events: Events, start_ns: int) -> dict[str, int]:
    first, last = (int(events.time_ns[0]), int(events.time_ns[-1])) if len(events) else (start_ns, start_ns)
    return {"events": len(events), "first_ns": first, "last_ns": last}


def _kinds(events: Events, instrument: Instrument) -> dict[str, dict[str, float]]:
    found = {}
    for kind in Kind:
        mine = events.kind == kind
        count = int(np.count_nonzero(mine))
        asks = int(np.count_nonzero(mine & (events.side == ASK)))
        quantity = int(events.size[mine].sum()) / instrument.lot_scale
        found[kind.name] = {"events": count, "share": count / max(len(events), 1), "asks": asks, "quantity": quantity}
    return found


def _control(events: Events) -> dict[str, Any]:
    rows = np.flatnonzero(events.kind == Kind.CONTROL)
    first = [(int(events.time_ns[row]), Code(events.code[row]).name) for row in rows[:_SHOWN]]
    counts = np.bincount(events.code[rows], minlength=len(Code))
    return {"counts": {code.name: int(counts[code]) for code in Code if counts[code]}, "first": first}


def _rates(events: Events) -> dict[str, float]:
    """Return events a second on average, and the most events within any window of each length."""
    if len(events) < 2:
        return {"mean_a_second": 0.0, **dict.fromkeys(WINDOWS_NS, len(events))}
    seconds = (int(events.time_ns[-1]) - int(events.time_ns[0])) / NS_PER_SECOND
    busiest = {name: int(_busiest(events.time_ns, window)) for name, window in WINDOWS_NS.items()}
    return {"mean_a_second": len(events) / seconds if seconds > 0 else 0.0, **busiest}


@njit
def _busiest(time_ns: np.ndarray, window_ns: int) -> int:
    """Return the most events in any window [t, t + window), times being read as if they never ran backwards."""
    most, first = 0, 0
    latest = time_ns[0]
    for i in range(len(time_ns)):
        latest = max(latest, time_ns[i])
        while time_ns[first] <= latest - window_ns:
            first += 1
        most = max(most, i - first + 1)
    return most


def _gaps(events: Events) -> dict[str, Any]:
    """Return the laws of the time between events, and the longest silences as (when they began, how long)."""
    longest: list[tuple[int, int]] = []
    zeros = backwards = 0
    for first in range(0, len(events) - 1, _RUN_EVENTS):
        time_ns = np.asarray(events.time_ns[first : first + _RUN_EVENTS + 1])
        gap = np.diff(time_ns)
        zeros += int(np.count_nonzero(gap == 0))
        backwards += int(np.count_nonzero(gap < 0))
        longest += [(int(gap[k]), int(time_ns[k])) for k in np.argsort(gap)[-_SHOWN:]]
    silences = [(begin, length) for length, begin in sorted(longest, reverse=True)[:_SHOWN]]
    gaps = np.diff(_sampled_pairs(events.time_ns), axis=1)[:, 0] if len(events) > 1 else np.zeros(0)
    share = max(len(events) - 1, 1)
    return {
        "quantiles_ns": _quantiles(gaps),
        "zero_share": zeros / share,
        "backwards": backwards,
        "longest": silences,
    }


def _sampled(values: np.ndarray) -> np.ndarray:
    return values[:: -(-len(values) // _SAMPLED) or 1]


def _sampled_pairs(values: np.ndarray) -> np.ndarray:
    """Return neighbours [n, 2], evenly spread."""
    rows = np.arange(0, len(values) - 1, -(-len(values) // _SAMPLED) or 1)
    return np.stack([values[rows], values[rows + 1]], axis=1)


def _quantiles(values: np.ndarray) -> dict[str, float]:
    """Return the mean, quantiles and the largest of some numbers; empty for none."""
    if not len(values):
        return {}
    found = dict(zip((f"q{q:g}" for q in QUANTILES), np.quantile(values, QUANTILES).tolist(), strict=True))
    return {"mean": float(np.mean(values)), **found, "max": float(np.max(values))}


def _trades(events: Events, instrument: Instrument) -> dict[str, Any]:
    rows = np.flatnonzero(np.isin(events.kind, _TRADES))
    price = events.price[rows] / instrument.price_scale
    size = events.size[rows] / instrument.lot_scale
    known = (events.flags[rows] & Flag.AGGRESSOR_KNOWN) > 0
    bought = events.side[rows] == ASK
    volume = float(size.sum())
    return {
        "count": len(rows),
        "volume": volume,
        "vwap": float((price * size).sum() / volume) if volume else None,
        "low": float(price.min()) if len(rows) else None,
        "high": float(price.max()) if len(rows) else None,
        "bought": float(size[known & bought].sum()),
        "sold": float(size[known & ~bought].sum()),
        "unknown_aggressor": float(size[~known].sum()),
        "hidden": float(size[events.kind[rows] == Kind.EXECUTE_HIDDEN].sum()),
        "sizes": _quantiles(size),
    }


def _book(day: MarketDay, levels: int) -> dict[str, Any]:
    """Return spread and depth over the states before each event, weighted by events and by the time they lasted."""
    tick, lot = day.instrument.tick, day.instrument.lot_scale
    spreads: dict[str, list[np.ndarray]] = {"ticks": [], "seconds": []}
    best, depth, one_sided, empty, moves = [], [], 0, 0, 0
    runs = replay_runs(day.events, start=day.start, corrections=day.corrections, levels=levels, run_events=_RUN_EVENTS)
    for rows, states in runs:
        price, size = states.price[:-1], states.size[:-1]
        sides = np.count_nonzero(size[:, :, 0], axis=1)
        both = sides == 2
        one_sided += int(np.count_nonzero(sides == 1))
        empty += int(np.count_nonzero(sides == 0))
        time_ns = np.append(states.start_ns, day.events.time_ns[rows])
        spreads["ticks"].append((price[both, 1, 0] - price[both, 0, 0]) / tick)
        spreads["seconds"].append(np.maximum(np.diff(time_ns), 0)[both] / NS_PER_SECOND)
        mid2 = states.mid2()
        moves += int(np.count_nonzero((mid2[1:] != mid2[:-1]) & (mid2[1:] != 0) & (mid2[:-1] != 0)))
        thin = slice(None, None, 1 + len(day.events) // _SAMPLED)
        best.append(size[thin, :, 0] / lot)
        depth.append(size[thin].sum(axis=2) / lot)
    ticks, seconds = (np.concatenate([np.zeros(0), *parts]) for parts in spreads.values())
    return {
        "spread_ticks": _quantiles(ticks),
        "spread_ticks_by_time": _weighted_quantiles(ticks, seconds),
        "one_sided_states": one_sided,
        "empty_states": empty,
        "mid_moves": moves,
        "levels": levels,
        **{
            f"{side}_{name}": _quantiles(np.concatenate([np.zeros((0, 2)), *parts])[:, s])
            for name, parts in (("best_size", best), ("depth", depth))
            for s, side in enumerate(("bid", "ask"))
        },
    }


def _weighted_quantiles(values: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Return the mean, quantiles and the largest of values that last as long as their weights."""
    if not weights.sum() > 0:
        return {}
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    places = np.minimum(np.searchsorted(reached, QUANTILES), len(values) - 1)
    found = dict(zip((f"q{q:g}" for q in QUANTILES), values[order][places].tolist(), strict=True))
    return {"mean": float(np.average(values, weights=weights)), **found, "max": float(values[weights > 0].max())}


def tables(inspection: dict[str, Any]) -> list[Table]:
    """Return an inspection as tables for a terminal of 80 columns."""
    instrument = Instrument(**inspection["instrument"])
    return [
        _overview(inspection, instrument),
        _kinds_table(inspection),
        _laws_table(inspection, instrument),
        *_moments_tables(inspection, instrument),
    ]


def _clock(time_ns: int, instrument: Instrument) -> str:
    """Return a time on the venue's clock, to the microsecond, with the date where it is another than the day's."""
    days, ns = divmod(time_ns - instrument.midnight_ns(), 86_400 * NS_PER_SECOND)
    seconds, rest = divmod(ns, NS_PER_SECOND)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest // 1000:06d}"
    return text + (f" ({days:+d} d)" if days else "")


def duration(ns: float) -> str:
    """Return a time span in the unit that suits it."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if abs(ns) >= size:
            return f"{ns / size:,.3g} {unit}" if abs(ns) < 1000 * size else f"{ns / size:,.0f} {unit}"
    return f"{ns:.0f} ns"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1e4 else f"{value:,.4g}"


def _price(value: float | None, instrument: Instrument) -> str:
    """Return a price with one decimal place more than the instrument's tick."""
    places = len(str(instrument.price_scale)) - len(str(instrument.tick).rstrip("0")) - str(instrument.tick).count("0")
    return "-" if value is None else f"{value:,.{max(places, 0) + 1}f}"


def _overview(inspection: dict[str, Any], instrument: Instrument) -> Table:
    span, report, trades, states = (inspection[key] for key in ("span", "report", "trades", "states"))
    shown = Table(title=f"{instrument.symbol}, {instrument.venue}, {instrument.trading_day}", show_header=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column()
    tick, lot = instrument.tick / instrument.price_scale, 1 / instrument.lot_scale
    kept, read = report.get("rows_kept", 0), report.get("rows_read", 0)
    dropped = "; ".join(f"{reason} {rows:,}" for reason, rows in report.get("rows_dropped", {}).items())
    first, last = _clock(span["first_ns"], instrument), _clock(span["last_ns"], instrument)
    length = duration(span["last_ns"] - span["first_ns"])
    peaks = ", ".join(f"{_number(inspection['rates'][name])} in {name}" for name in WINDOWS_NS)
    rows = {
        "feed": f"{report.get('feed', '?')}: {read:,} rows read, {kept:,} kept",
        "dropped": dropped or "none",
        "steps": f"tick {tick:.10g}, lot {lot:.10g}",
        "time": f"{first} to {last} {instrument.time_zone} ({length})",
        "events": f"{span['events']:,}, {report.get('corrections', 0):,} corrections beside them",
        "rate": f"{_number(inspection['rates']['mean_a_second'])} events/s; at most {peaks}",
        "trades": f"{trades['count']:,} of {_number(trades['volume'])} in all, VWAP "
        f"{_price(trades['vwap'], instrument)}, {_price(trades['low'], instrument)} to "
        f"{_price(trades['high'], instrument)}",
        "aggressors": f"{_number(trades['bought'])} bought, {_number(trades['sold'])} sold, "
        f"{_number(trades['unknown_aggressor'])} unknown; {_number(trades['hidden'])} hidden",
        "doubtful": f"{states['crossed']:,} crossed and {states['locked']:,} locked states, "
        f"{states['unknown_level'] + states['over_removal']:,} removals of what is not there, "
        f"{inspection['gaps']['backwards']:,} times backwards",
        "one-sided": f"{inspection['book']['one_sided_states']:,} states, {inspection['book']['empty_states']:,} empty",
    }
    for name, text in rows.items():
        shown.add_row(name, text)
    return shown


def _kinds_table(inspection: dict[str, Any]) -> Table:
    shown = Table(title="events by kind")
    for name in ("kind", "events", "share", "of asks", "quantity"):
        shown.add_column(name, justify="left" if name == "kind" else "right")
    for name, kind in inspection["kinds"].items():
        asks = f"{kind['asks'] / kind['events']:.1%}" if kind["events"] and name != Kind.CONTROL.name else "-"
        quantity = "-" if name == Kind.CONTROL.name else _number(kind["quantity"])
        shown.add_row(name, f"{kind['events']:,}", f"{kind['share']:.2%}", asks, quantity)
    return shown


def _laws_table(inspection: dict[str, Any], instrument: Instrument) -> Table:
    book = inspection["book"]
    shown = Table(title="laws")
    headings = {"": "", "mean": "mean", **{f"q{q:g}": f"{q:.0%}" for q in _SHOWN_QUANTILES}, "max": "max"}
    for name in headings.values():
        shown.add_column(name, justify="right" if name else "left", no_wrap=True)
    laws = {
        "spread, ticks, by event": book["spread_ticks"],
        "spread, ticks, by time": book["spread_ticks_by_time"],
        "best bid size": book["bid_best_size"],
        "best ask size": book["ask_best_size"],
        f"bid depth, {book['levels']} levels": book["bid_depth"],
        f"ask depth, {book['levels']} levels": book["ask_depth"],
        "size of events": inspection["sizes"],
        "size of trades": inspection["trades"]["sizes"],
    }
    for name, law in laws.items():
        shown.add_row(name, *(_number(law[key]) for key in headings if key in law))
    gaps = inspection["gaps"]["quantiles_ns"]
    shown.add_row("time between events", *(duration(gaps[key]) for key in headings if key in gaps))
    zero = inspection["gaps"]["zero_share"]
    shown.caption = f"{zero:.1%} of events share the time of the one before; {book['mid_moves']:,} moves of the mid"
    return shown


def _moments_tables(inspection: dict[str, Any], instrument: Instrument) -> list[Table]:
    """Return the longest silences and the first CONTROL events."""
    silences: Sequence[tuple[int, int]] = inspection["gaps"]["longest"]
    quiet = Table(title="longest silences")
    for name in ("from", "for"):
        quiet.add_column(name, justify="right")
    for begin, length in silences[:5]:
        quiet.add_row(_clock(begin, instrument), duration(length))
    found = [quiet] if silences else []
    control = inspection["control"]
    if control["counts"]:
        counts = ", ".join(f"{count:,} {name}" for name, count in control["counts"].items())
        shown = Table(title=f"session and feed: {counts}")
        for name in ("at", "what"):
            shown.add_column(name, justify="right" if name == "at" else "left")
        for time_ns, name in control["first"]:
            shown.add_row(_clock(time_ns, instrument), name)
        found.append(shown)
    return found
