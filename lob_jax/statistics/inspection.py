"""Inspect a day before building anything on it: statistics, and tables that show them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from lob_jax.book.day import MarketDay
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.events.schema import Kind
from lob_jax.statistics import event_measures
from lob_jax.statistics.book_measures import STATES, book

_COLUMNS = {"mean": "mean", "q0.01": "1%", "q0.5": "50%", "q0.99": "99%", "max": "max"}  # what fits into 80 characters
_ROWS = 5  # of a table of single events


def inspect_day(day: MarketDay, *, levels: int) -> dict[str, Any]:
    """Return statistics of a day as plain JSON values; times in ns, prices in currency, sizes in units of quantity.

    Reads the events in chunks: they may be larger than memory.

    Args:
      day: a day that a feed has read.
      levels: occupied levels per side over which depth is measured.
    """
    instrument, events, start = day.instrument, day.events, day.start
    ends = (int(events.time_ns[0]), int(events.time_ns[-1])) if len(events) else (start.time_ns, start.time_ns)
    return {
        "instrument": instrument.to_dict(),
        "start_levels": len(set(zip(start.side.tolist(), start.price.tolist(), strict=True))),
        "span": {"events": len(events), "first_ns": ends[0], "last_ns": ends[1]},
        "corrections": len(day.corrections),
        "kinds": event_measures.kinds(events, instrument),
        "control": event_measures.control(events),
        "rates": event_measures.rates(events),
        "gaps": event_measures.gaps(events),
        "latency_ns": event_measures.latency(events),
        "sizes": event_measures.sizes(events, instrument),
        "trades": event_measures.trades(events, instrument),
        "book": book(day, min(levels, start.window or levels)),
        "report": day.report,
    }


def tables(inspection: dict[str, Any]) -> list[Table]:
    """Return an inspection as tables for a terminal of 80 columns."""
    instrument = Instrument(**inspection["instrument"])
    moments = (_control_table, _silences_table, _largest_table)
    found = [_overview(inspection, instrument), _kinds_table(inspection), _distributions_table(inspection)]
    return [*found, *(table for make in moments if (table := make(inspection, instrument)).row_count)]


def clock(time_ns: int, instrument: Instrument) -> str:
    """Format a time on the venue's clock, to the microsecond, with the offset in days if it is not the trading day."""
    days, ns = divmod(time_ns - instrument.midnight_ns(), 86_400 * NS_PER_SECOND)
    seconds, rest = divmod(ns, NS_PER_SECOND)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest // 1000:06d}"
    return text + (f" ({days:+d} d)" if days else "")


def duration(ns: float) -> str:
    """Format a time span in the largest unit, up to seconds, in which it is at least 1."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if abs(ns) >= size:
            return f"{ns / size:,.3g} {unit}" if abs(ns) < 1000 * size else f"{ns / size:,.0f} {unit}"
    return f"{ns:.0f} ns"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1e4 else f"{value:,.4g}"


def _price(value: float | None, instrument: Instrument) -> str:
    """Format a price with one more decimal place than the instrument's tick."""
    places = next(places for places in range(20) if instrument.tick * 10**places % instrument.price_scale == 0)
    return "-" if value is None else f"{value:,.{places + 1}f}"


def _grid(title: str, columns: Sequence[str], *, left: Sequence[str]) -> Table:
    """Return an empty table; columns are right-aligned for numbers, except those named in `left`."""
    table = Table(title=title)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def _overview(inspection: dict[str, Any], instrument: Instrument) -> Table:
    shown = Table(title=f"{instrument.symbol}, {instrument.venue}, {instrument.trading_day}", show_header=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column()
    rows = _reading_rows(inspection, instrument) | _market_rows(inspection, instrument) | _doubt_rows(inspection)
    for name, text in rows.items():
        shown.add_row(name, text)
    return shown


def _reading_rows(inspection: dict[str, Any], instrument: Instrument) -> dict[str, str]:
    """Describe what was read, its time span and its rates."""
    span, report, rates = (inspection[key] for key in ("span", "report", "rates"))
    read, kept = report.get("rows_read", 0), report.get("rows_kept", 0)
    dropped = "; ".join(f"{reason} {rows:,}" for reason, rows in report.get("rows_dropped", {}).items())
    first, last = (clock(span[end], instrument) for end in ("first_ns", "last_ns"))
    peaks = ", ".join(f"{_number(rates[name])} in {name}" for name in event_measures.WINDOWS_NS)
    captured = {} if not inspection["latency_ns"] else {"captured": _latency_text(inspection["latency_ns"])}
    return {
        "feed": f"{report.get('feed', '?')}: {read:,} rows read, {kept:,} kept",
        "dropped": dropped or "none",
        "steps": f"tick {instrument.tick / instrument.price_scale:.10g}, lot {1 / instrument.lot_scale:.10g}",
        "time": f"{first} to {last} {instrument.time_zone} ({duration(span['last_ns'] - span['first_ns'])})",
        "events": f"{span['events']:,}, {inspection['corrections']:,} corrections",
        "rate": f"{_number(rates['mean_a_second'])} events/s; at most {peaks}",
        **captured,
        **_liberties(report),
    }


def _liberties(report: Mapping[str, Any]) -> dict[str, str]:
    """Describe values that were adjusted while reading, and information that the files do not contain."""
    rows = {}
    if report.get("rounded_times"):
        rows["rounded"] = f"{report['rounded_times']:,} times that a double printed, to the nanosecond"
    if report.get("participant_rows"):
        rows["participants"] = f"in {report['participant_rows']:,} rows, {', '.join(list(report['participants'])[:3])}"
    if report.get("order_book") == "none":
        unknown, disproved = report["removals_of_unknown_orders"], report["disproved_levels"]
        rows["no order book"] = f"{unknown:,} removals of unknown orders, {disproved:,} levels disproved"
    return rows


def _latency_text(latency_ns: Mapping[str, float]) -> str:
    low, median, high = (duration(latency_ns[key]) for key in ("min", "q0.5", "q0.99"))
    early = "; below 0: the capture clock is slow" if latency_ns["min"] < 0 else ""
    return f"median {median} after the exchange, min {low}, 99% {high}{early}"


def _market_rows(inspection: dict[str, Any], instrument: Instrument) -> dict[str, str]:
    """Describe the path of the price, and the trades."""
    trades, mid, report = inspection["trades"], inspection["book"]["mid"], inspection["report"]
    first, low, high, last = (_price(mid[key], instrument) for key in ("first", "low", "high", "last"))
    vwap, cheapest, dearest = (_price(trades[key], instrument) for key in ("vwap", "low", "high"))
    met, hidden = report.get("trades_explained", 0), report.get("trades_hidden", 0)
    explained = (
        {} if not met + hidden else {"explained": f"{met / (met + hidden):.1%} of trades, by levels that shrink"}
    )
    return {
        "mid": f"{first} to {last}, within {low} to {high}; {inspection['book']['mid_moves']:,} moves",
        "trades": f"{trades['count']:,}, quantity {_number(trades['volume'])}, VWAP {vwap}, {cheapest} to {dearest}",
        "aggressors": f"{_number(trades['bought'])} bought, {_number(trades['sold'])} sold, "
        f"{_number(trades['unknown_aggressor'])} unknown; {_number(trades['hidden'])} hidden",
        **explained,
    }


def _doubt_rows(inspection: dict[str, Any]) -> dict[str, str]:
    """Describe irregularities of the book and the events."""
    book = inspection["book"]
    states = [
        f"{book['states'][name]:,} {name.replace('_', '-')}"
        + (f" ({duration(book['states_s'][name] * NS_PER_SECOND)})" if book["states_s"][name] else "")
        for name in STATES
    ]
    return {
        "states": ", ".join(states),
        "doubtful": f"{book['unknown_level'] + book['over_removal']:,} removals of lots not in the book, "
        f"{inspection['gaps']['backwards']:,} backward times, "
        f"{inspection['control']['counts'].get('FEED_GAP', 0):,} feed gaps",
    }


def _kinds_table(inspection: dict[str, Any]) -> Table:
    shown = _grid("events by kind", ("kind", "events", "share", "on ask side", "quantity"), left=("kind",))
    for name, kind in inspection["kinds"].items():
        asks = f"{kind['asks'] / kind['events']:.1%}" if kind["events"] and name != Kind.CONTROL.name else "-"
        quantity = "-" if name == Kind.CONTROL.name else _number(kind["quantity"])
        shown.add_row(name, f"{kind['events']:,}", f"{kind['share']:.2%}", asks, quantity)
    return shown


def _distributions_table(inspection: dict[str, Any]) -> Table:
    book, gaps = inspection["book"], inspection["gaps"]
    shown = _grid("distributions", ("", *_COLUMNS.values()), left=("",))
    distributions = {
        "spread, ticks, by event": book["spread_ticks"],
        "spread, ticks, by time": book["spread_ticks_by_time"],
        "move of the mid, ticks": book["mid_move_ticks"],
        "best bid, quantity, by time": book["bid_best_size"],
        "best ask, quantity, by time": book["ask_best_size"],
        f"{book['levels']} bid levels, quantity, by time": book["bid_depth"],
        f"{book['levels']} ask levels, quantity, by time": book["ask_depth"],
        "quantity per event": inspection["sizes"],
        "quantity per trade": inspection["trades"]["sizes"],
    }
    for name, quantiles in distributions.items():
        shown.add_row(name, *(_number(quantiles[key]) for key in _COLUMNS if quantiles))
    for name, quantiles in {
        "time between events": gaps["quantiles_ns"],
        "capture latency": inspection["latency_ns"],
    }.items():
        if quantiles:
            shown.add_row(name, *(duration(quantiles[key]) for key in _COLUMNS))
    shown.caption = f"{gaps['zero_share']:.1%} of events have the same time as the previous one"
    return shown


def _control_table(inspection: dict[str, Any], instrument: Instrument) -> Table:
    control = inspection["control"]
    counts = ", ".join(f"{count:,} {name}" for name, count in control["counts"].items())
    shown = _grid(f"session and feed: {counts}", ("at", "what"), left=("what",))
    for time_ns, name in control["first"]:
        shown.add_row(clock(time_ns, instrument), name)
    return shown


def _silences_table(inspection: dict[str, Any], instrument: Instrument) -> Table:
    shown = _grid("longest silences", ("from", "for"), left=())
    for begin, length in inspection["gaps"]["longest"][:_ROWS]:
        shown.add_row(clock(begin, instrument), duration(length))
    return shown


def _largest_table(inspection: dict[str, Any], instrument: Instrument) -> Table:
    shown = _grid("largest trades", ("at", "quantity", "price", "kind"), left=("kind",))
    for time_ns, price, size, kind in inspection["trades"]["largest"][:_ROWS]:
        shown.add_row(clock(time_ns, instrument), _number(size), _price(price, instrument), kind)
    return shown
