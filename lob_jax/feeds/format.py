"""`Format`, a format of market data and its feed, and the registry of formats: each `feeds/*/feed.py` defines one.

Importing this module imports no feed, so that names in a configuration are checked quickly.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable

from lob_jax.feeds.feed import Feed
from lob_jax.registry import Registry

SYNTHETIC = "synthetic"  # the feed that reads no file
AUTO = "auto"  # the feed that fits the files; the synthetic feed if there are none


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of market data, and the feed that reads it.

    Attributes:
      feed: constructs the feed; its parameters are the settings of users, such as `tick`.
      reads: the files that it reads, in a few words, for the table in docs/data.md.
      gives: the events that it yields, likewise.
      begins: matches the beginning of the decompressed content of the files, and of no other format's files.
      named: for a format whose files are recognised by name, whether a path is one of them.
      price_decimals: the decimal places of all prices; None if they differ from day to day.
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
