"""Databento's MBO as CSV: the same records as in DBN, one per line, with prices and times in either encoding."""

import collections
import dataclasses
import re
from collections.abc import Callable, Iterator

import databento_dbn
import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_DAY
from lob_jax.feeds.databento.checks import MOST_PRICE, UNDEF_PRICE
from lob_jax.feeds.databento.files import other_schema
from lob_jax.feeds.databento.records import MBO, RECORD, Rows
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.csv_lines import BOM
from lob_jax.feeds.reading.csv_rows import Block, Column, CsvRows, Fault
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.source import Source

_NEEDED = ("ts_recv", "ts_event", "instrument_id", "action", "side", "price", "size", "order_id", "flags")
_FIELDS = RECORD.names or ()  # NumPy gives None only to types without fields
_READ = (*(name for name in _FIELDS if name != "length"), "symbol")
PEEKED_BYTES = 1 << 16
_LEAST_RAW = 10**6  # in units of 1e-9: in no market are all prices below 0.001
_ACTIONS, _SIDES = "ACMRTFN", "ABN"
_CODES = {"action": np.frombuffer(_ACTIONS.encode(), np.uint8), "side": np.frombuffer(_SIDES.encode(), np.uint8)}
# Datasets with individual orders, by publisher: databento.com/docs/venues-and-datasets.
_DATASETS = {1: "GLBX.MDP3", 2: "XNAS.ITCH", 3: "XBOS.ITCH", 4: "XPSX.ITCH", 5: "BATS.PITCH", 6: "BATY.PITCH"}
_DATASETS |= {7: "EDGA.PITCH", 8: "EDGX.PITCH", 9: "XNYS.PILLAR", 10: "XCIS.PILLAR", 11: "XASE.PILLAR"}
_DATASETS |= {12: "XCHI.PILLAR", 15: "MEMX.MEMOIR", 16: "EPRL.DOM", 43: "ARCX.PILLAR", 57: "IFEU.IMPACT"}
_DATASETS |= {58: "NDEX.IMPACT"}


@dataclasses.dataclass(frozen=True)
class CsvHeader:
    """Properties of a file that follow from its first lines.

    Attributes:
      names: the columns to read, in file order.
      decimal_prices: whether prices are decimal numbers; otherwise they are integers in units of 1e-9.
    """

    names: tuple[str, ...]
    decimal_prices: bool

    def place(self, name: str) -> int | None:
        """Return the index of a column, None if the file does not have it."""
        return self.names.index(name) if name in self.names else None


def is_csv(begin: bytes) -> bool:
    """Return whether a file with these first bytes is Databento's CSV, of any schema."""
    names = _lines(begin)[0]
    return "ts_event" in names and ("rtype" in names or "instrument_id" in names)


def peek_csv(source: Source) -> CsvHeader:
    """Return the properties of a file that follow from its first lines.

    Raises:
      InputError: the schema is not MBO, or the unit of the prices cannot be inferred from the first of them.
    """
    names, *rows = _lines(source.first_bytes(PEEKED_BYTES))
    places = {name: place for place, name in enumerate(names)}
    rows = [row for row in rows if len(row) == len(names)]
    schema = _schema(places, rows[0] if rows else [])
    if schema != "mbo":
        raise other_schema(source, schema)
    prices, times = ([row[places[name]] for row in rows] for name in ("price", "ts_event"))
    return CsvHeader(tuple(name for name in names if name in _READ), _decimal_prices(source, prices, times))


def _lines(begin: bytes) -> list[list[str]]:
    """Return the fields of all complete lines, or of the incomplete first line if there is no other."""
    lines = begin.removeprefix(BOM).decode("utf-8", "backslashreplace").split("\n")
    lines = [line.removesuffix("\r").split(",") for line in (lines[:-1] or lines)]
    return [[field.removeprefix('"').removesuffix('"') for field in line] for line in lines]


def _schema(places: dict[str, int], row: list[str]) -> str:
    """Return the schema, identified by the type of the first record, or by the columns."""
    missing = [name for name in _NEEDED if name not in places]
    kind = row[places["rtype"]] if row and "rtype" in places else ""
    kinds = {str(int(known)): str(known) for known in databento_dbn.RType.variants()} | {"0": "trades"}
    if kind not in ("", str(MBO)):
        return kinds.get(kind, f"of rtype {kind[:8]}")
    return "mbo" if not missing else "unknown, without " + ", ".join(missing)


def _decimal_prices(source: Source, prices: list[str], times: list[str]) -> bool:
    """Return whether prices are decimal numbers; without any price, whether times are readable text too."""
    if any("." in price for price in prices):
        return True
    whole = [int(price) for price in prices if re.fullmatch(r"-?\d{1,19}", price)]
    sizes = {abs(price) for price in whole} - {0, UNDEF_PRICE}
    if sizes and max(sizes) < _LEAST_RAW:
        raise InputError(
            "prices that may be in units of the currency or of 1e-9",
            where=source,
            expected="decimal points, or whole numbers in units of 1e-9",
            was=prices[:5],
            remedy="write prices with a decimal point, such as 14.0, or download the file again",
        )
    return not sizes and any("-" in time for time in times)


def _column(name: str, *, decimal_prices: bool) -> Column:
    """Return the content of a column."""
    unsigned = {"publisher_id": 16, "instrument_id": 32, "size": 32, "channel_id": 8, "flags": 8, "sequence": 32}
    if name in ("ts_recv", "ts_event"):
        return Column(name, "time")
    if name == "price" and decimal_prices:
        return Column(name, "optional", 9, low=-MOST_PRICE, high=MOST_PRICE)
    if name == "price":
        return Column(name, "int")
    if name in ("action", "side"):
        return Column(name, "word", words=tuple(_ACTIONS if name == "action" else _SIDES))
    if name in unsigned:
        return Column(name, "int", low=0, high=2 ** unsigned[name] - 1)
    if name == "ts_in_delta":
        return Column(name, "int", low=-(2**31), high=2**31 - 1)
    if name == "rtype":
        return Column(name, "int", low=MBO, high=MBO)
    return Column(name, "id" if name == "order_id" else "any")


class _Symbols:
    """Records the symbol of each instrument, once per day, while the lines are available; never reports a fault."""

    def __init__(self, header: CsvHeader):
        self.found: dict[tuple[int, int], str] = {}
        self.ever: dict[int, str] = {}
        self._places = header.place("instrument_id"), header.place("ts_recv"), header.place("symbol")

    def judge(self, values: np.ndarray, text: Callable[[int], tuple[str, ...]]) -> np.ndarray:
        """Record new combinations of instrument and day; return no faults."""
        number, received, symbol = self._places
        numbers, days = values[number], values[received] // NS_PER_DAY
        turns = np.flatnonzero((np.diff(numbers) != 0) | (np.diff(days) != 0)) + 1
        for row in np.append(0, turns)[: len(numbers)].tolist():
            key = int(numbers[row]), int(days[row])
            if key not in self.found:
                own = "" if symbol is None else text(row)[symbol]
                self.found[key] = self.ever[key[0]] = own or str(key[0])
        return np.empty((0, 3), np.int64)

    def explain(self, fault: int, detail: int, fields: tuple[str, ...]) -> Fault:
        """Never called, since `judge` returns no faults."""
        raise NotImplementedError


class CsvRecords:
    """Iterates once over the MBO records of a CSV file, as `Records` does over those of a DBN file.

    Attributes:
      one_day: None, because only the records themselves show the days of a file.
      faults: the bad lines of the file.
      beside: empty, because there are no records of other types.
      read_mbo: number of good records so far, of any instrument.
    """

    one_day = None

    def __init__(self, source: Source, reading: Reading):
        """Read the header; errors as `peek_csv`."""
        self.faults = Faults(reading, source.name)
        self.beside: collections.Counter[str] = collections.Counter()
        self.read_mbo = 0
        header = peek_csv(source)
        columns = [_column(name, decimal_prices=header.decimal_prices) for name in header.names]
        self._places = {name: header.place(name) for name in _FIELDS if name not in ("length", "rtype")}
        self._symbols = _Symbols(header)
        self._rows = CsvRows(
            source, columns, header=header.names, reading=reading, faults=self.faults, rules=self._symbols
        )

    @property
    def read(self) -> int:
        """Return the number of lines so far, including bad ones."""
        return self.read_mbo + self.faults.dropped.total()

    def listed(self) -> dict[int, str]:
        """Return the symbols that the file names before its records, of which there are none."""
        return {}

    def symbol(self, number: int, day: int) -> str:
        """Return the symbol of an instrument on a day; its id if the file has no symbols."""
        return self._symbols.found.get((number, day)) or self._symbols.ever[number]

    def venue(self, publisher: int) -> str:
        """Return the dataset of a publisher, "unknown" for publisher 0."""
        return _DATASETS.get(publisher, f"publisher {publisher}" if publisher else "unknown")

    def place(self, number: int) -> str:
        """Return the location of a record."""
        return f"line {number + 2}"

    def __iter__(self) -> Iterator[Rows]:
        for block in self._rows:
            rows = self._records(block)
            self.read_mbo += len(rows.records)
            if len(rows.records):
                yield rows

    def _records(self, block: Block) -> Rows:
        records = np.zeros(len(block.line), RECORD)
        records["length"], records["rtype"] = RECORD.itemsize // 4, MBO
        for name, place in self._places.items():
            if place is not None:
                values = block.values[place]
                records[name] = _CODES[name][values] if name in _CODES else values
        return Rows(records, block.line - 2)
