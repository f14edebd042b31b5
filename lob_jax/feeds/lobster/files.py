"""Find LOBSTER days: file names, pairs of files, folders and archives."""

import dataclasses
import datetime
import itertools
import pathlib
import re
import zipfile

from lob_jax.errors import InputError
from lob_jax.feeds.reading.source import Source, damaged

MS_PER_DAY = 86_400_000
MOST_MS = 10 * MS_PER_DAY  # the latest end of a session that continues past midnight
ORDER_BOOK = ("required", "none")  # whether the order-book file is read together with the messages
PAST_MIDNIGHT = ("refuse", "cut", "continue")  # how a writer treats events after the day
PATTERN = "TICKER_YYYY-MM-DD_StartMs_EndMs_{half}_LEVEL.csv"
_NAME = re.compile(
    r"(?P<symbol>[A-Za-z0-9._-]+)_(?P<day>\d{4}-\d{2}-\d{2})_(?P<start>0|[1-9]\d{0,7})_(?P<end>[1-9]\d{0,8})"
    r"_(?P<half>message|orderbook)_(?P<levels>[1-9]\d{0,3})",
    re.ASCII,
)
_SUFFIXES = (".csv", ".csv.gz", ".csv.zst", ".csv.zip", ".zip")  # one file of a pair; a zip may hold both
_DAMAGE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError)


@dataclasses.dataclass(frozen=True)
class LobsterName:
    """The content of a LOBSTER file name.

    Attributes:
      symbol: the ticker.
      trading_day: ISO date.
      start_ms: start of the session, ms after local midnight.
      end_ms: its end; above 86,400,000 if it continues past midnight.
      levels: occupied levels per side in the order-book file.
    """

    symbol: str
    trading_day: str
    start_ms: int
    end_ms: int
    levels: int

    def stem(self, half: str) -> str:
        """Return the file name of a half, "message" or "orderbook", without its suffix."""
        return f"{self.symbol}_{self.trading_day}_{self.start_ms}_{self.end_ms}_{half}_{self.levels}"


@dataclasses.dataclass(frozen=True)
class Pair:
    """The files of one day.

    Attributes:
      name: the content of their names.
      message: the message file.
      orderbook: the order-book file, None if it is not to be read.
    """

    name: LobsterName
    message: Source
    orderbook: Source | None


def parse_name(file_name: str) -> tuple[LobsterName, str] | None:
    """Parse a file name to its content and half ("message" or "orderbook"); None if it is not a LOBSTER name."""
    suffix = next((s for s in sorted(_SUFFIXES, key=len, reverse=True) if file_name.endswith(s)), None)
    match = _NAME.fullmatch(file_name.removesuffix(suffix)) if suffix else None
    if match is None:
        return None
    try:
        datetime.date.fromisoformat(match["day"])
    except ValueError:
        return None
    name = LobsterName(match["symbol"], match["day"], int(match["start"]), int(match["end"]), int(match["levels"]))
    sound = name.start_ms < min(name.end_ms, MS_PER_DAY) and name.end_ms <= MOST_MS
    return (name, match["half"]) if sound else None


def holds_messages(path: pathlib.Path) -> bool:
    """Return whether a zip contains a message file.

    Raises:
      InputError: the archive is damaged.
    """
    return any(parsed[1] == "message" for _, parsed in _members(path))


def check_order_book(order_book: str, *, where: str) -> None:
    """Raise InputError unless `order_book` is one of `ORDER_BOOK`."""
    if order_book not in ORDER_BOOK:
        raise InputError(
            "an unknown value of order_book",
            where=where,
            expected=" | ".join(ORDER_BOOK),
            was=order_book,
            remedy="required reads the order-book file too, none builds the book from the messages alone",
        )


def find_pair(path: pathlib.Path, *, order_book: str = "required") -> Pair:
    """Find both files of a day from its message file, or from a zip that contains both or the messages.

    Args:
      path: the message file, or the zip.
      order_book: "required", or "none" if only the messages are read and no order-book file is needed.

    Raises:
      InputError: the file does not exist, its name cannot be parsed, the order-book file is missing, or an archive is
        damaged.
    """
    if not path.is_file():
        raise _missing(path)
    if path.suffix == ".7z":
        raise _seven_zip(path)
    if path.suffix == ".zip":
        name, message = _message_in_zip(path)
        return _pair(name, message, order_book)
    parsed = parse_name(path.name)
    if parsed is None:
        raise _unparsable(path)
    name, half = parsed
    if half != "message":
        raise InputError(
            "not a message file",
            where=path,
            expected=name.stem("message") + ".csv",
            was=path.name,
            remedy="pass the message file of the day; its order-book file is found by its name",
        )
    return _pair(name, Source(path), order_book)


def _pair(name: LobsterName, message: Source, order_book: str) -> Pair:
    check_order_book(order_book, where="order_book")
    return Pair(name, message, _find_orderbook(name, message) if order_book == "required" else None)


def list_days(path: pathlib.Path, *, order_book: str = "required") -> dict[pathlib.Path, LobsterName]:
    """Return the message files, or zips, at a path (a file, or a folder), by date, then symbol, then start.

    Args:
      path: the file, or the folder.
      order_book: as for `find_pair`; if "none", order-book files in the folder are ignored.

    Raises:
      InputError: there is no LOBSTER file, a name cannot be parsed, a file of a pair is missing, or the sessions of two
        files overlap.
    """
    if not path.is_dir():
        return {path: find_pair(path, order_book=order_book).name}
    files = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    pairs = {file: find_pair(file, order_book=order_book) for file in files if _holds(file, "message")}
    if not pairs and any(file.suffix == ".7z" for file in files):
        raise _seven_zip(next(file for file in files if file.suffix == ".7z"))
    used = {pair.orderbook.path for pair in pairs.values() if pair.orderbook is not None} | set(pairs)
    unread = {pair.name for pair in pairs.values() if pair.orderbook is None}
    books = (file for file in files if file not in used and _holds(file, "orderbook"))
    orphan = next((file for file in books if _name_of_book(file) not in unread), None)
    if orphan is not None:
        raise _orphan(orphan, pairs)
    if not pairs:
        raise InputError(
            "no LOBSTER message file in the folder",
            where=path,
            expected=PATTERN.format(half="message"),
            was=[file.name for file in files[:5]],
            remedy="pass a folder of LOBSTER files, or one message file",
        )
    ordered = sorted(pairs, key=lambda file: _order(pairs[file].name))
    for first, second in itertools.pairwise(ordered):
        _check_apart(first, pairs[first].name, second, pairs[second].name)
    return {file: pairs[file].name for file in ordered}


def _order(name: LobsterName) -> tuple[str, str, int, int]:
    return name.trading_day, name.symbol, name.start_ms, name.levels


def _holds(file: pathlib.Path, half: str) -> bool:
    """Return whether a file is, or a zip contains, this half of a day; refuse a garbled name."""
    if file.suffix == ".zip":
        return any(parsed[1] == half for _, parsed in _members(file))
    if not file.name.endswith((".csv", ".csv.gz", ".csv.zst")) or f"_{half}_" not in file.name:
        return False
    parsed = parse_name(file.name)
    if parsed is None:
        raise _unparsable(file)
    return parsed[1] == half


def _members(path: pathlib.Path) -> list[tuple[str, tuple[LobsterName, str]]]:
    """List the LOBSTER files inside a zip with their parsed names."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except _DAMAGE as error:
        raise damaged(path, error) from error
    found = []
    for member in names:
        base = member.rsplit("/", 1)[-1]
        parsed = parse_name(base) if base.endswith(".csv") else None
        if parsed is not None:
            found.append((member, parsed))
    return found


def _message_in_zip(path: pathlib.Path) -> tuple[LobsterName, Source]:
    """Return the only message file inside a zip."""
    found = [(parsed[0], Source(path, member)) for member, parsed in _members(path) if parsed[1] == "message"]
    if len(found) != 1:
        raise InputError(
            "a zip must contain the message file of exactly one day",
            where=path,
            expected="one " + PATTERN.format(half="message"),
            was=[half.member for _, half in found] or "none",
            remedy="pass the zip with the messages, or unpack it and pass the folder",
        )
    return found[0]


def _find_orderbook(name: LobsterName, message: Source) -> Source:
    """Return the order-book file that belongs to a message file: in the same zip, or in the same folder."""
    if message.member:
        for member, parsed in _members(message.path):
            if parsed == (name, "orderbook"):
                return Source(message.path, member)
    own_suffix = message.path.name.removeprefix(name.stem("message"))
    suffixes = sorted(_SUFFIXES, key=lambda suffix: suffix != own_suffix)
    for suffix in suffixes:
        path = message.path.with_name(name.stem("orderbook") + suffix)
        if path.is_file() and suffix.endswith(".zip"):
            member = next((m for m, parsed in _members(path) if parsed == (name, "orderbook")), None)
            if member:
                return Source(path, member)
        elif path.is_file():
            return Source(path)
    expected = message.path.with_name(name.stem("orderbook") + (suffixes[0] if not message.member else ".csv"))
    raise InputError(
        "the order-book file of a LOBSTER day is missing",
        where=message,
        expected=expected,
        was="no such file, plain or compressed",
        remedy="put the order-book file of the same day, session and levels next to the message file; or read only "
        "the messages, with order_book='none' (--config.data.order_book=none)",
    )


def _name_of_book(file: pathlib.Path) -> LobsterName:
    """Return the parsed name of an order-book file, or of the first file inside its zip."""
    return (parse_name(file.name) or _members(file)[0][1])[0]


def _orphan(file: pathlib.Path, pairs: dict[pathlib.Path, Pair]) -> InputError:
    """Return the error for an order-book file that belongs to no message file."""
    name = _name_of_book(file)
    twice = any(pair.name == name for pair in pairs.values())
    return InputError(
        "two copies of an order-book file" if twice else "the message file of a LOBSTER day is missing",
        where=file,
        expected="one order-book file per message file" if twice else file.with_name(name.stem("message") + ".csv"),
        was="a second copy in another form" if twice else "no such file, plain or compressed",
        remedy="remove one of them" if twice else "put the message file of the same name next to it",
    )


def _check_apart(first: pathlib.Path, first_name: LobsterName, second: pathlib.Path, second_name: LobsterName) -> None:
    """Refuse two files of one symbol and day whose sessions overlap: the same events would be read twice."""
    same_day = first_name.trading_day == second_name.trading_day and first_name.symbol == second_name.symbol
    if same_day and second_name.start_ms < first_name.end_ms:
        raise InputError(
            "the folder contains the same trading day twice",
            where=second,
            expected="one message file per symbol, day and session",
            was=f"{first.name} and {second.name}",
            remedy="keep one of them in the folder, or pass one message file",
        )


def _missing(path: pathlib.Path) -> InputError:
    return InputError(
        "no such file or folder",
        where=path,
        expected="a LOBSTER message file, a zip, or a folder of them",
        was="a folder" if path.is_dir() else "nothing at this path",
        remedy="check the path",
    )


def _unparsable(path: pathlib.Path) -> InputError:
    pattern = PATTERN.format(half="message")
    return InputError(
        "a file name that is not LOBSTER's",
        where=path,
        expected=f"{pattern}, .csv.gz, .csv.zst or .zip; a valid date; StartMs < EndMs, and StartMs < {MS_PER_DAY}",
        was=path.name,
        remedy="restore the name under which LOBSTER delivered the file",
    )


def _seven_zip(path: pathlib.Path) -> InputError:
    return InputError(
        "7z archives are not supported",
        where=path,
        expected=".csv, .csv.gz, .csv.zst or .zip",
        was=path.name,
        remedy="unpack it (7z x) and pass the folder",
    )
