"""The small Databento day as CSV, by Databento's own encoder, and a naive reading of one."""

import io
import pathlib
from fractions import Fraction

import databento_dbn

from tests.feeds import sample_databento
from tests.feeds.sample_databento import UNDEF_PRICE, book_behind, metadata, timed

FEED = sample_databento.FEED
ROWS = [row for row in sample_databento.ROWS if not isinstance(row, int)]


def as_csv(dbn: bytes, **encoding: bool) -> bytes:
    """Return a DBN file as Databento writes it in CSV: `pretty_px`, `pretty_ts`, `map_symbols`."""
    file = io.BytesIO()
    transcoder = databento_dbn.Transcoder(file, databento_dbn.Encoding.CSV, databento_dbn.Compression.NONE, **encoding)
    transcoder.write(dbn)
    transcoder.finish()
    return file.getvalue()


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write one file with the content of the DBN sample, as delivered by default."""
    path = folder / "xy-20240102.mbo.csv"
    path.write_bytes(as_csv(metadata() + timed(ROWS)))
    return path


def final_book(path: pathlib.Path):
    """Return the levels after the last line, by a naive implementation of the format's rules."""
    return book_behind(_records_of(path.read_text()))


def _records_of(text: str):
    """Yield the fields of each line, in DBN's order."""
    header, *lines = text.removesuffix("\n").split("\n")
    for line in lines:
        row = dict(zip(header.split(","), line.removesuffix("\r").split(","), strict=True))
        price = Fraction(row["price"]) * 10**9 if row["price"] else Fraction(UNDEF_PRICE)
        numbers = [int(row[name]) for name in ("publisher_id", "order_id", "size", "flags")]
        publisher, order_id, size, flags = numbers
        action, side = row["action"].encode(), row["side"].encode()
        yield 0, 160, publisher, 0, 0, order_id, int(price), size, flags, 0, action, side, 0, 0, 0
