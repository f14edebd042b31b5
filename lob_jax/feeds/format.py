"""The formats that are read: `Format` says what one is, and each folder of `feeds/` with a `feed.py` defines one.

Importing this module imports no feed, so that a configuration's names are checked quickly.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable

from lob_jax.feeds.feed import Feed
from lob_jax.registry import Registry

SYNTHETIC = "synthetic"  # the feed that reads no file
AUTO = "auto"  # whichever feed the files are for; without files, the synthetic one


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of market data, and the feed that reads it.

    Attributes:
      feed: makes the feed; its parameters are the settings that a user may name, such as `tick`.
      reads: which files, in a few words, for the table in docs/data.md.
      gives: which events come of them, likewise.
      begins: what the decompressed content of such a file begins with; no other format's files may.
      named: of a format whose files are known by their names: whether a path is one of them.
      price_decimals: the decimal place that all prices are counted in; None where every day has its own.
    """

    feed: Callable[..., Feed]
    reads: str
    gives: str
    begins: re.Pattern[bytes]
    named: Callable[[pathlib.Path], bool] | None = None
    price_decimals: int | None = None


FEEDS = Registry(
    "feed",
    files="feeds/*/feed.py",
    attribute="FORMAT",
    of=Format,
    where="config.data.feed",
    first=("lobster", "itch", "databento", "tardis", "binance", "table"),
)
