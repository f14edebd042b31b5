"""Read the MBO records of a DBN file block by block; skip and count records of other types."""

import collections
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lob_jax.errors import InputError
from lob_jax.feeds.databento.files import date_of, read_header
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.faults import FaultCode, Faults
from lob_jax.feeds.reading.source import Source
from lob_jax.jit import njit

# databento.com/docs/schemas-and-data-formats/mbo. Read as int64, the order id, a uint64, keeps its bits, and undefined
# times, which are above 2**63 - 1, become negative.
RECORD: np.dtype[np.void] = np.dtype(
    [
        ("length", "u1"),  # of the record, in words of 4 bytes
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<i8"),
        ("order_id", "<i8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "u1"),
        ("side", "u1"),
        ("ts_recv", "<i8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
WORD = 4
MBO = 160
BESIDE = {
    18: "status",
    19: "definition",
    20: "imbalance",
    21: "error",
    22: "symbol mapping",
    23: "system",
    24: "statistics",
}
_LEAST_WORDS = 4  # length of the header that all records share
_IS_BESIDE = np.isin(np.arange(256), list(BESIDE))


class _Fault(FaultCode):
    """The faults of a record: description and expected value."""

    WHOLE = 0
    TOO_SHORT = 1, "a record shorter than its header", "", f"a length of {_LEAST_WORDS} words or more"
    WRONG_LENGTH = 2, "an MBO record of another length", "", "the length that the metadata announce"
    FOREIGN = 3, "a record of a type that does not belong in an MBO file", "", f"rtype {MBO}, or one of {BESIDE}"


class Rows(NamedTuple):
    """MBO records and their positions in the file.

    Attributes:
      records: `RECORD` [R].
      number: int64 [R], position among all records of the file, from 0.
    """

    records: np.ndarray
    number: np.ndarray


class Records:
    """Iterates once over the MBO records of a file; bad records are passed to `faults`.

    Attributes:
      one_day: the day of all records, counted from 1970-01-01; None if the metadata do not determine it.
      faults: the bad records of the file.
      beside: number of records of other types so far, by type.
      read_mbo: number of good MBO records so far, of any instrument.
    """

    def __init__(self, source: Source, reading: Reading):
        """Read the metadata; errors as `read_header`."""
        self.faults = Faults(reading, source.name)
        self.beside: collections.Counter[str] = collections.Counter()
        self._source, self.read_mbo = source, 0
        self._blocks, self._damaged = source.blocks(reading), False
        self._header, self._rest = read_header(source, self._blocks)
        self.one_day = self._header.day if self._header.one_day else None
        self._instruments = np.array(sorted(self._header.symbols))
        self._words = RECORD.itemsize // WORD + 2 * self._header.send_times

    @property
    def read(self) -> int:
        """Return the number of records so far, including bad ones."""
        return self.read_mbo + self.beside.total() + self.faults.dropped.total()

    def listed(self) -> dict[int, str]:
        """Return the symbols of a file of one day, with or without records, by instrument id."""
        return self._header.symbols if self.one_day is not None else {}

    def symbol(self, number: int, day: int) -> str:
        """Return the symbol of an instrument on a day.

        Raises:
          InputError: the metadata have no symbol for that day, and not exactly one for other days.
        """
        if self.one_day is not None:
            return self._header.symbols[number]
        symbols = {name.symbol for name in self._header.names if name.number == number}
        own = self._header.symbols_on(day).get(number) or (symbols.pop() if len(symbols) == 1 else None)
        if own is None:
            expected = f"a symbol of instrument {number} on {date_of(day)}"
            raise self._error("a day without a symbol", expected=expected, was=f"{sorted(symbols)[:8]}")
        return own

    def venue(self, publisher: int) -> str:
        """Return the dataset."""
        del publisher
        return self._header.dataset

    def place(self, number: int) -> str:
        """Return the location of a record."""
        return f"record {number}"

    def __iter__(self) -> Iterator[Rows]:
        data = self._rest
        while True:
            rows, done = self._parse(np.frombuffer(data, np.uint8))
            if len(rows.records):
                yield rows
            if done < 0:
                return
            rest = data[done:]
            block = self._next_block()
            if not block:
                break
            data = rest + block
        if rest and not self._damaged:
            whole = rest[0] * WORD
            error = self._error("a truncated record", expected=f"{whole} bytes", was=f"the last {len(rest)} bytes")
            self.faults.refuse(error, raw=rest.hex())

    def _next_block(self) -> bytes:
        try:
            return next(self._blocks, b"")
        except InputError as error:
            self.faults.refuse(error, raw=b"")
            self._damaged = True  # damage also truncates a record, which is not a second fault
            return b""

    def _parse(self, data: np.ndarray) -> tuple[Rows, int]:
        """Return the complete MBO records, and where the rest begins, -1 if the rest of the file is lost."""
        places = np.empty(len(data) // (_LEAST_WORDS * WORD) + 1, np.int64)
        numbers = np.empty(len(places), np.int64)
        beside = np.zeros(256, np.int64)
        count, at, number, fault = 0, 0, self.read, _Fault.FOREIGN
        while fault != _Fault.WHOLE and at >= 0:
            count, at, number, fault = _walk(data, at, self._words, _IS_BESIDE, number, places, numbers, count, beside)
            if fault != _Fault.WHOLE:
                self._refuse(fault, data, at, number)
                at = -1 if fault == _Fault.TOO_SHORT else at + int(data[at]) * WORD
                number += 1
        self.beside.update({BESIDE[kind]: int(beside[kind]) for kind in np.flatnonzero(beside)})
        rows = self._named(Rows(_gather(data, places[:count]), numbers[:count]))
        self.read_mbo += len(rows.records)
        return rows, at

    def _named(self, rows: Rows) -> Rows:
        """Refuse the records of instruments that the metadata do not list."""
        known = np.isin(rows.records["instrument_id"], self._instruments)
        for i in np.flatnonzero(~known):
            error = self._error(
                "a record of an instrument that the metadata do not list",
                expected=f"one of {self._instruments[:8].tolist()}",
                was=str(rows.records["instrument_id"][i]),
                number=int(rows.number[i]),
            )
            self.faults.refuse(error, raw=rows.records[i].tobytes().hex())
        return rows if known.all() else Rows(rows.records[known], rows.number[known])

    def _refuse(self, fault: _Fault, data: np.ndarray, at: int, number: int) -> None:
        was = f"rtype {data[at + 1]} of {data[at]} words" if at + 1 < len(data) else f"{data[at]} words"
        error = self._error(fault.what, expected=fault.expected, was=was, number=number)
        self.faults.refuse(error, raw=data[at : at + max(int(data[at]), 1) * WORD].tobytes().hex())

    def _error(self, what: str, *, expected: str, was: str, number: int | None = None) -> InputError:
        where = f"{self._source}, record {self.read if number is None else number}"
        remedy = "fetch the file again; skip or quarantine keeps what can be read"
        return InputError(what, where=where, expected=expected, was=was, remedy=remedy)


@njit
def _walk(
    data: np.ndarray,
    at: int,
    words: int,
    is_beside: np.ndarray,
    number: int,
    places: np.ndarray,
    numbers: np.ndarray,
    count: int,
    beside: np.ndarray,
) -> tuple[int, int, int, int]:
    """Record the positions of complete MBO records from `at` on; stop at the first incomplete or bad record.

    Returns:
      The number of MBO records found, the position at which it stopped, the number of the record there, and its fault.
    """
    while at + 2 <= len(data):
        length = np.int64(data[at])
        kind = data[at + 1]
        if length < _LEAST_WORDS:
            return count, at, number, _Fault.TOO_SHORT
        if at + length * WORD > len(data):
            break
        if kind == MBO:
            if length != words:
                return count, at, number, _Fault.WRONG_LENGTH
            places[count], numbers[count] = at, number
            count += 1
        elif is_beside[kind]:
            beside[kind] += 1
        else:
            return count, at, number, _Fault.FOREIGN
        at += length * WORD
        number += 1
    return count, at, number, _Fault.WHOLE


def _gather(data: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return a copy of the records at the given positions, which are ascending."""
    size = RECORD.itemsize
    if len(places) and places[-1] - places[0] == (len(places) - 1) * size:
        return data[places[0] : places[-1] + size].copy().view(RECORD)
    return data[places[:, None] + np.arange(size)].view(RECORD)[:, 0] if len(places) else np.empty(0, RECORD)
