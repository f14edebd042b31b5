"""Folders of real and generated sequences in LOB-Bench's layout: read those of any generator, and write our own.

A folder has the subfolders `data_real`, `data_gen` and `data_cond` with one pair of LOBSTER files per sequence, such as
`GOOG_2012-06-21_message_real_id_7_gen_id_0.csv` and `GOOG_2012-06-21_orderbook_real_id_7_gen_id_0.csv`: the first
generated continuation of real sequence 7. Names in `data_real` and `data_cond` end after the real id.
"""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.files.alignment import check_aligned
from lob_jax.evaluation.fidelity.files.sequence_files import SequenceRows, levels_of, read_sequence
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events, Kind
from lob_jax.feeds.lobster.feed import LobsterFeed, read_book_rows, read_messages
from lob_jax.feeds.lobster.files import list_days
from lob_jax.statistics.flow import Flow, disjoint_spans, joined
from lob_jax.writers.lobster import PRICE_SCALE, book_frame, message_frame, price_factor

PARTS = ("data_real", "data_gen", "data_cond")
NO_GENERATION = -1
LAYOUT = "TICKER_DATE_message_real_id_N[_gen_id_M].csv, and the same with orderbook"
_NAME = re.compile(
    r"(?P<before>.*?)(?P<half>message|orderbook).*real_id_(?P<real>\d+)(?:_gen_id_(?P<generation>\d+))?(?!\d).*"
    r"\.csv(?:\.gz|\.zst)?"
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NO_DAY = "1970-01-01"


class Key(NamedTuple):
    """What identifies a sequence: the trading day, the real sequence, and the generation, -1 for a real one."""

    trading_day: str
    real: int
    generation: int


@dataclasses.dataclass(frozen=True, eq=False)
class ReadFlow:
    """The sequences of a folder.

    Attributes:
      flow: the sequences, by day, real id and generation.
      keys: of each sequence; those cut from a day are numbered in order.
      has_messages: False if there are only books; the columns of messages are then zeros.
      report: what was read, as plain JSON.
    """

    flow: Flow
    keys: tuple[Key, ...]
    has_messages: bool
    report: dict[str, Any]


def read_folder(
    path: pathlib.Path,
    part: str,
    *,
    events: int,
    tick: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ReadFlow:
    """Read the sequences of a folder, of real or of generated flow, as they are: nothing is replayed or repaired.

    Args:
      path: a folder with the subfolder `part`, or such a subfolder; or LOBSTER days, which are cut into sequences.
      part: one of `PARTS`.
      events: messages per sequence of a LOBSTER day.
      tick: price quanta (1e-4 of the currency) per tick; None for the greatest common divisor of the prices.
      on_progress: called with the sequences or days read so far, and their number.

    Raises:
      InputError: there is no sequence, a file of a pair is missing, a line violates LOBSTER's format, or messages and
        books differ in number.
    """
    inside = path / part
    folder = inside if inside.is_dir() else path
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    pairs = _pairs(folder, names)
    if pairs:
        return _read_pairs(folder, pairs, tick=tick, on_progress=on_progress)
    if any(f"_{half}_" in name for half in ("message", "orderbook") for name in names) or folder.is_file():
        return _read_days(folder, events=events, tick=tick, on_progress=on_progress)
    raise InputError(
        "no sequences in the folder",
        where=folder,
        expected=f"{LAYOUT}; or message and order-book files of LOBSTER days",
        was=names[:5] if folder.is_dir() else "nothing at this path",
        remedy=f"pass the folder that has {part}, or {part} itself",
    )


def _pairs(folder: pathlib.Path, names: Iterable[str]) -> dict[Key, dict[str, pathlib.Path]]:
    """Return the files of each sequence by half, in the order of the sequences."""
    found: dict[Key, dict[str, pathlib.Path]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or name.startswith("."):
            continue
        day = _DAY.search(name)
        generation = NO_GENERATION if match["generation"] is None else int(match["generation"])
        halves = found.setdefault(Key(day[0] if day else _NO_DAY, int(match["real"]), generation), {})
        if match["half"] in halves:
            raise InputError(
                "two files of the same sequence",
                where=folder / name,
                expected="one message and one order-book file per day, real id and generation",
                was=f"{halves[match['half']].name} and {name}",
                remedy="keep one of them in the folder",
            )
        halves[match["half"]] = folder / name
    return dict(sorted(found.items()))


def _read_pairs(
    folder: pathlib.Path,
    pairs: dict[Key, dict[str, pathlib.Path]],
    *,
    tick: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> ReadFlow:
    has_messages = any("message" in halves for halves in pairs.values())
    for halves in pairs.values():
        _check_halves(halves, has_messages=has_messages)
    first = next(iter(pairs.values()))["orderbook"]
    levels, parts = levels_of(first), []
    for number, halves in enumerate(pairs.values(), start=1):
        parts.append(read_sequence(halves.get("message"), halves["orderbook"], levels=levels))
        if on_progress is not None:
            on_progress(number, len(pairs))
    symbol = _DAY.split(first.name)[0].strip("_") if _DAY.search(first.name) else folder.name
    flow = _flow_of(parts, Instrument(symbol, "", next(iter(pairs)).trading_day, price_scale=PRICE_SCALE), tick)
    generations = [sum(1 for _ in group) for group in _by_real(pairs)]
    report = {
        "folder": str(folder),
        **_report(flow, has_messages=has_messages),
        "explained": check_aligned(flow, where=folder),
        "real_ids": len(generations),
        "generations": [min(generations), max(generations)],
        "halts_left_out": sum(part.halts for part in parts),
    }
    return ReadFlow(flow, tuple(pairs), has_messages, report)


def _by_real(keys: Iterable[Key]) -> list[list[Key]]:
    groups: dict[tuple[str, int], list[Key]] = {}
    for key in keys:
        groups.setdefault((key.trading_day, key.real), []).append(key)
    return list(groups.values())


def _check_halves(halves: dict[str, pathlib.Path], *, has_messages: bool) -> None:
    """Raise InputError if a sequence lacks its books, or its messages where others have them."""
    missing = "orderbook" if "orderbook" not in halves else "message" if has_messages else None
    if missing is None or missing in halves:
        return
    present = next(iter(halves.values()))
    other = "message" if missing == "orderbook" else "orderbook"
    raise InputError(
        f"the {'order-book' if missing == 'orderbook' else 'message'} file of a sequence is missing",
        where=present,
        expected=present.with_name(present.name.replace(other, missing)),
        was="no such file",
        remedy="write both files of every sequence; a folder of order-book files alone is scored by its books",
    )


def _flow_of(parts: Sequence[SequenceRows], instrument: Instrument, tick: int | None) -> Flow:
    """Return sequences as a flow, with the given tick or the one that its prices show."""
    lengths = [len(part.time_ns) for part in parts]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in SequenceRows._fields[:-1]}
    flow = Flow(instrument, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), **columns)
    return with_tick(flow, tick_of(flow) if tick is None else tick)


def _read_days(
    path: pathlib.Path, *, events: int, tick: int | None, on_progress: Callable[[int, int], None] | None
) -> ReadFlow:
    """Read LOBSTER days, cut into sequences of as many messages; a rest at the end of a day is left out."""
    feed, days, flows, keys = LobsterFeed(tick=1), list_days(path), [], []
    for number, (file, name) in enumerate(days.items(), start=1):
        instrument = Instrument(name.symbol, feed.venue, name.trading_day, feed.time_zone)
        whole = _flow_of([_day_rows(file, feed, instrument)], instrument, tick=1)
        spans = disjoint_spans(len(whole.time_ns), length=events)
        flows.append(dataclasses.replace(whole, edges=np.append(spans[:, 0], spans[-1:, 1])).select(range(len(spans))))
        keys += [Key(name.trading_day, place, NO_GENERATION) for place in range(len(spans))]
        if on_progress is not None:
            on_progress(number, len(days))
    if not keys:
        raise InputError(
            "the days are shorter than one sequence",
            where=path,
            expected=f"at least {events:,} messages, the length of a sequence",
            was=f"{max(len(flow.time_ns) for flow in flows):,} messages",
            remedy="pass --config.score.events=100, say",
        )
    flow = joined(flows)
    flow = with_tick(flow, tick_of(flow) if tick is None else tick)
    report = {"folder": str(path), **_report(flow, has_messages=True), "days": len(days)}
    report["explained"] = check_aligned(flow, where=path)
    return ReadFlow(flow, tuple(keys), True, report)


def _day_rows(file: pathlib.Path, feed: LobsterFeed, instrument: Instrument) -> SequenceRows:
    """Return the columns of a LOBSTER day, without what announces halts."""
    messages = read_messages(file, feed=feed)
    price, size = read_book_rows(file, tick=feed.tick)
    kept = np.flatnonzero(messages.kind != Kind.CONTROL)
    messages = messages[kept]
    columns = (messages.kind, messages.side, messages.price, messages.size, messages.order_id)
    return SequenceRows(messages.time_ns - instrument.midnight_ns(), *columns, price[kept], size[kept])


def tick_of(flow: Flow) -> int:
    """Return the greatest common divisor of the prices of a flow's visible orders, at least 1."""
    visible = (flow.kind >= Kind.ADD) & (flow.kind <= Kind.EXECUTE)
    prices = (flow.price[visible], flow.book_price[flow.book_size > 0])
    return max(int(np.gcd.reduce(np.concatenate([np.unique(price) for price in prices]), initial=0)), 1)


def with_tick(flow: Flow, tick: int) -> Flow:
    """Return a flow whose instrument has a tick, in price quanta."""
    return dataclasses.replace(flow, instrument=dataclasses.replace(flow.instrument, tick=tick))


def off_tick(flow: Flow) -> int:
    """Return the number of messages about visible orders whose price is not a multiple of the tick."""
    visible = (flow.kind >= Kind.ADD) & (flow.kind <= Kind.EXECUTE)
    return int(np.count_nonzero(flow.price[visible] % flow.instrument.tick))


def _report(flow: Flow, *, has_messages: bool) -> dict[str, Any]:
    """Return counts about a flow, and what in it no market would show."""
    lengths, inner = np.diff(flow.edges), np.ones(len(flow.time_ns), bool)
    inner[flow.edges[:-1][lengths > 0]] = False
    bid, ask = flow.book_price[:, 0, 0], flow.book_price[:, 1, 0]
    both = (flow.book_size[:, :, 0] > 0).all(axis=1)
    return {
        "symbol": flow.instrument.symbol,
        "sequences": len(flow),
        "messages": int(flow.edges[-1]) if has_messages else 0,
        "books": int(flow.edges[-1]),
        "length": [int(lengths.min()), int(lengths.max())],
        "levels": flow.levels,
        "tick": flow.instrument.tick / flow.instrument.price_scale,
        "times_backwards": int(np.count_nonzero(np.diff(flow.time_ns, prepend=flow.time_ns[:1])[inner] < 0)),
        "crossed_books": int(np.count_nonzero(both & (bid >= ask))),
        "prices_off_tick": off_tick(flow),
        "sha256": fingerprint(flow),
    }


def fingerprint(flow: Flow) -> str:
    """Return the sha256 of a flow's columns."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(flow)[1:]:
        digest.update(np.ascontiguousarray(getattr(flow, field.name)).tobytes())
    return digest.hexdigest()


def write_folders(
    folder: pathlib.Path,
    real: Flow,
    *,
    generated: Flow,
    cond: Flow | None = None,
    ids: Sequence[int] | np.ndarray | None = None,
) -> None:
    """Write real and generated sequences as LOB-Bench lays them out; see the module.

    Prices are written in ten-thousandths of the currency, sizes in lots, order ids as signed 64-bit integers.

    Args:
      folder: created if it does not exist; files of the same names are replaced.
      real: S sequences.
      generated: G continuations of each, S * G sequences: all of the first real one, then all of the second, ...
      cond: S sequences, what each continuation was conditioned on; None to write none.
      ids: the S numbers of the real sequences, >= 0; None for 0 to S - 1.

    Raises:
      InputError: the sequences do not belong together, or LOBSTER's format cannot hold their prices.
    """
    real_ids = np.arange(len(real)) if ids is None else np.asarray(ids)
    generations, rest = divmod(len(generated), max(len(real), 1))
    fitting = rest == 0 and len(real_ids) == len(np.unique(real_ids)) == len(real) > 0
    if not fitting or (cond is not None and len(cond) != len(real)):
        raise InputError(
            "real and generated sequences that do not belong together",
            where="write_folders",
            expected="S real sequences with ids of their own, S * G generated ones, S conditions or none",
            was=f"{len(real)} real, {len(real_ids)} ids, {len(generated)} generated, "
            f"{'no' if cond is None else len(cond)} conditions",
            remedy="pass as many continuations of every real sequence",
        )
    names = [f"real_id_{number}" for number in real_ids.tolist()]
    continued = [f"{name}_gen_id_{number}" for name in names for number in range(generations)]
    for part, flow, endings in zip(PARTS, (real, generated, cond), (names, continued, names), strict=True):
        if flow is not None:
            _write_part(pathlib.Path(folder) / part, flow, endings)


def _write_part(folder: pathlib.Path, flow: Flow, endings: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    instrument, factor = flow.instrument, price_factor(flow.instrument)
    for sequence, ending in enumerate(endings):
        rows = slice(*flow.edges[sequence : sequence + 2])
        before = f"{instrument.symbol}_{instrument.trading_day}"
        columns = {name: getattr(flow, name)[rows] for name in ("time_ns", "kind", "side", "price", "size")}
        events, ids = Events.from_columns(**columns), flow.order_id[rows].view(np.int64)
        if events.kind.any():  # else there are only books
            messages = message_frame(events, events.time_ns, ids, factor)
            messages.write_csv(folder / f"{before}_message_{ending}.csv", include_header=False)
        books = book_frame(flow.book_price[rows], flow.book_size[rows], factor)
        books.write_csv(folder / f"{before}_orderbook_{ending}.csv", include_header=False)
