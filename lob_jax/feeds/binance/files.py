"""Binance captures: the symbols and the day of a file, and whether it lists trades individually."""

import dataclasses
import datetime
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from lob_jax.errors import InputError
from lob_jax.feeds.binance.messages import to_ns
from lob_jax.feeds.binance.search import SHORTEST_LINE, search_symbols
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.source import Source, refuse_unreadable

_BEGINNING = re.compile(rb"(?m)^(\d{13,19}) [{\[]")
_SNIFFED_BYTES = 1 << 16
_LONGEST_LINE = 1 << 26
_NS_PER_DAY = 86_400 * 10**9


@dataclasses.dataclass(frozen=True)
class Capture:
    """The content of a capture.

    Attributes:
      trading_day: ISO date, UTC, of the first line's arrival.
      symbols: the symbols of all depth updates, sorted, each with whether it has a `trade` message.
    """

    trading_day: str
    symbols: dict[str, bool]


def scan(path: pathlib.Path) -> Capture | None:
    """Search a file for symbols; return None if it is not a capture.

    Raises:
      InputError: the file cannot be read.
    """
    begin = Source(path).first_bytes(_SNIFFED_BYTES)
    receive_ns = next((time for time in map(to_ns, map(int, _BEGINNING.findall(begin))) if time >= 0), None)
    if receive_ns is None:
        return None
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=receive_ns // _NS_PER_DAY)
    deep: set[bytes] = set()
    traded: set[bytes] = set()
    for block in whole_lines(Source(path), Reading(), faults=None):
        spans = np.empty((len(block) // SHORTEST_LINE + 1, 3), np.int64)
        found = search_symbols(np.frombuffer(block, np.uint8), spans)
        for begin, end, is_depth in spans[:found].tolist():
            (deep if is_depth else traded).add(block[begin:end])
    return Capture(day.isoformat(), {name.decode("utf-8", "replace"): name in traded for name in sorted(deep)})


def captures_at(path: pathlib.Path) -> dict[pathlib.Path, Capture]:
    """Return the captures at a path, a file or a folder, ordered by day.

    Raises:
      InputError: there is none, or two contain the same symbol and day.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    scans = {file: scan(file) for file in files}
    found = {file: capture for file, capture in scans.items() if capture is not None and capture.symbols}
    if not found:
        refuse_unreadable(files, expected="lines such as 1723161255030314667 {...}")
        raise InputError(
            "no capture of Binance messages",
            where=path,
            expected="lines such as 1723161255030314667 {...}, updates of depth (depthUpdate) among them",
            was=[file.name for file in files[:5]] or "no file",
            remedy="pass a capture, or a folder of captures",
        )
    seen: dict[tuple[str, str], pathlib.Path] = {}
    for file, capture in found.items():
        for symbol in capture.symbols:
            other = seen.setdefault((symbol, capture.trading_day), file)
            if other is not file:
                raise InputError(
                    "the folder contains the same symbol and day twice",
                    where=file,
                    expected="one capture per symbol and day; spot and futures in separate folders",
                    was=f"{symbol} {capture.trading_day} in {other.name} and {file.name}",
                    remedy="move one of them to another folder, or pass a single file",
                )
    return dict(sorted(found.items(), key=lambda item: item[1].trading_day))


def whole_lines(source: Source, reading: Reading, *, faults: Faults | None) -> Iterator[bytes]:
    """Yield blocks of complete lines; damage is passed to `faults`, or ends the lines silently if that is None.

    Raises:
      InputError: the file is damaged and `faults` is strict, or a line is too long to be a message.
    """
    rest: list[bytes] = []
    held = 0
    try:
        for block in source.blocks(reading):
            cut = block.rfind(b"\n") + 1
            if cut:
                yield b"".join([*rest, memoryview(block)[:cut]])
                rest, held = [], 0
            rest.append(block[cut:])
            held += len(block) - cut
            if held > _LONGEST_LINE:
                raise _too_long(source)
    except InputError as error:
        if faults is None:
            return
        faults.refuse(error, raw=b"".join(rest))
        rest = []
    if any(rest):
        yield b"".join(rest)


def _too_long(source: Source) -> InputError:
    return InputError(
        "a line too long to be a message",
        where=source,
        expected=f"at most {_LONGEST_LINE} bytes",
        was="more",
        remedy="check that the file is a capture",
    )
