"""LOBSTER days: a message file and an order-book file, row for row, read strictly.

The book row k is the state after message k, so both files are needed: the book gives the start and,
where it contradicts a replay of the messages, the corrections.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lob_jax.book import replay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ASK, BID, Events, Kind
from lob_jax.feeds.feed import MarketDay
from lob_jax.feeds.lobster_files import Half, LobsterName, Pair, find_pair, list_days
from lob_jax.feeds.lobster_rows import read_book_file, read_message_file


@dataclasses.dataclass(frozen=True)
class LobsterFeed:
    """Reads LOBSTER days: plain, gzipped or zipped pairs of files.

    Attributes:
      tick: price quanta (1e-4 of the currency) between neighbouring order prices.
      venue: where the orders rest.
      time_zone: of the seconds after midnight that the files count in.
    """

    tick: int = 100
    venue: str = "NASDAQ"
    time_zone: str = "America/New_York"

    def __post_init__(self) -> None:
        if self.tick < 1:
            raise InputError(
                "a tick that is no number of price quanta",
                where="LobsterFeed.tick",
                expected="1 or more",
                was=self.tick,
                remedy="pass 100 for a tick of one cent",
            )

    def days(self, path: pathlib.Path) -> list[pathlib.Path]:
        """List the message files (or zips) at a path, a file or a folder, by date and then by symbol.

        Raises:
          InputError: nothing is there, a name cannot be parsed, a half is missing, or a day lies there twice.
        """
        return list_days(pathlib.Path(path))

    def inputs(self, days: Sequence[pathlib.Path]) -> dict[str, str]:
        """Return the sha256 of every file that some days are read from, by name."""
        hashes = [_hashes(find_pair(pathlib.Path(path))) for path in days]
        return {name: digest for pair in hashes for name, digest in pair.items()}

    def read(self, path: pathlib.Path) -> MarketDay:
        """Read the day of a message file, or of a zip; its order book is found by its name.

        The events keep the file's order and numbering: `sequence` is the row, counted from 0. A trading
        halt's price becomes a `Code`. The start is book row 0 with message 0 undone.

        Raises:
          InputError: the first line of either file that is not what LOBSTER's format says, or a missing half.
        """
        pair = find_pair(pathlib.Path(path))
        instrument = self._instrument(pair.name)
        events = read_message_file(pair.message, instrument)
        price, size, ended = read_book_file(pair.orderbook, levels=pair.name.levels, tick=self.tick)
        _check_lengths(pair, len(events), len(price))
        start = start_book(events, name=pair.name, midnight_ns=instrument.midnight_ns(), price=price[0], size=size[0])
        corrections = replay.find_corrections(events, start=start, price=price, size=size)
        if not ended:
            _check_last_size(pair.orderbook, corrections, price[-1], size[-1], row=len(events) - 1)
        report = _report(pair, events, price=price, corrections=corrections)
        return MarketDay(instrument, start, events, corrections, report)

    def _instrument(self, name: LobsterName) -> Instrument:
        return Instrument(
            symbol=name.symbol,
            venue=self.venue,
            trading_day=name.trading_day,
            time_zone=self.time_zone,
            price_scale=10_000,
            tick=self.tick,
        )


def read_messages(path: pathlib.Path, *, feed: LobsterFeed | None = None) -> Events:
    """Read only the messages of a day; errors as `LobsterFeed.read`."""
    pair = find_pair(pathlib.Path(path))
    return read_message_file(pair.message, (feed or LobsterFeed())._instrument(pair.name))


def read_book_rows(path: pathlib.Path, *, tick: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Read only the order book of a day, named by its message file or zip.

    Returns:
      price, size: int64 [E, 2, N], side 0 bid and 1 ask, best level first, 0 where a level is empty;
        row k is the state after message k.

    Raises:
      InputError: as `LobsterFeed.read`, but for what only the messages can tell.
    """
    pair = find_pair(pathlib.Path(path))
    price, size, _ = read_book_file(pair.orderbook, levels=pair.name.levels, tick=tick)
    return price, size


def start_book(
    events: Events, *, name: LobsterName, midnight_ns: int, price: np.ndarray, size: np.ndarray
) -> BookSnapshot:
    """Return the book before event 0: the state after it (price, size [2, N]) with the event undone.

    Each level is one anonymous order. The clock is the session's start, or the first event's time if earlier.
    """
    levels = price.shape[1]
    undone = int(events.side[0]) if events.kind[0] in (Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE) else 0
    change = int(events.size[0]) * (-1 if events.kind[0] == Kind.ADD else 1)
    sides, prices, sizes, last_best = [], [], [], []
    for index, side in enumerate((BID, ASK)):
        book = {int(p): int(s) for p, s in zip(price[index], size[index], strict=True) if s}
        if side == undone:
            book[int(events.price[0])] = book.get(int(events.price[0]), 0) + change
        occupied = sorted((p for p, s in book.items() if s > 0), key=lambda p, side=side: -side * p)[:levels]
        sides += [side] * len(occupied)
        prices += occupied
        sizes += [book[p] for p in occupied]
        last_best.append(occupied[0] if occupied else 0)
    return BookSnapshot(
        time_ns=min(midnight_ns + name.start_ms * 10**6, int(events.time_ns[0])),
        side=np.array(sides, np.int8),
        price=np.array(prices, np.int64),
        size=np.array(sizes, np.int64),
        order_id=np.zeros(len(prices), np.uint64),
        last_best=np.array(last_best, np.int64),
        window=levels,
    )


def _check_last_size(half: Half, corrections: Corrections, price: np.ndarray, size: np.ndarray, *, row: int) -> None:
    """Refuse a file without a line feed at its end unless the replay confirms its last number, a bid size.

    (A message file needs no such proof: its last number is a whole direction or none.)
    """
    bid = int(price[0, -1])
    doubted = (corrections.event == row) & (corrections.side == BID) & (corrections.price == bid)
    if doubted.any():
        raise InputError(
            "a truncated last line: no line feed ends it, and the messages do not confirm its last number",
            where=f"{half}, line {row + 1}",
            expected="a line feed at the end",
            was=f"the file ends after {bid},{size[0, -1]}",
            remedy="fetch the file again; if it is whole, end it with a line feed",
        )


def _check_lengths(pair: Pair, messages: int, rows: int) -> None:
    """Refuse a pair whose files do not match row for row."""
    if messages != rows:
        raise InputError(
            "the message and the order-book file differ in length",
            where=f"{pair.orderbook}, line {min(messages, rows) + 1}",
            expected=f"{messages} rows, as in {pair.message}",
            was=f"{rows} rows",
            remedy="fetch both files again: one of them is cut short, or they are of different days",
        )


def _report(pair: Pair, events: Events, *, price: np.ndarray, corrections: Corrections) -> dict[str, Any]:
    """Say what was read, as plain JSON values; lines count from 1."""
    bid, ask = price[:, 0, 0], price[:, 1, 0]
    kinds = np.bincount(events.kind, minlength=len(Kind) + 1)
    gaps = _unexplained_rows(corrections, price)
    return {
        "feed": "lobster",
        "inputs": _hashes(pair),
        "rows_read": len(events),
        "rows_kept": len(events),
        "rows_dropped": {},
        "kinds": {kind.name: int(kinds[kind]) for kind in Kind},
        "corrections": len(corrections),
        "time_reversals": int((np.diff(events.time_ns) < 0).sum()),
        "crossed_rows": int(((bid > ask) & (ask > 0)).sum()),
        "locked_rows": int(((bid == ask) & (ask > 0)).sum()),
        "gaps": len(gaps),
        "first_gap_lines": [int(row) + 1 for row in gaps[:10]],
    }


def _unexplained_rows(corrections: Corrections, price: np.ndarray) -> np.ndarray:
    """Return the rows whose book does not follow from the row before and the message; something is missing there.

    A correction is explained if it reveals a level: one behind the last of the levels that fill the row before.
    """
    asked = corrections.event > 0
    event, side = corrections.event[asked], corrections.side[asked].astype(np.int64)
    behind = price[event - 1, (side < 0).astype(np.int64), -1]
    revealed = (behind > 0) & (corrections.size[asked] > 0) & (side * (behind - corrections.price[asked]) > 0)
    return np.unique(event[~revealed])


def _hashes(pair: Pair) -> dict[str, str]:
    """Return the sha256 of a day's files, by name."""
    hashes = {}
    for half in (pair.message, pair.orderbook):
        with half.path.open("rb") as file:
            hashes[half.path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
