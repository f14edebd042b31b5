"""Recognise known formats that no feed reads by their first bytes, and report them with a remedy."""

from collections.abc import Callable

from lob_jax.errors import InputError
from lob_jax.feeds.format import FEEDS
from lob_jax.feeds.itch.codes import SIZES
from lob_jax.feeds.reading.csv_lines import BOM
from lob_jax.feeds.reading.known_formats import BARE, BY_PATTERN, CBOE, MOLD, SECONDS, SOUP, Known
from lob_jax.feeds.reading.source import Source

SNIFFED_BYTES = 4096
_SHOWN = 80  # bytes of a file shown in an error
_SOUP_TYPES = b"+ASUHZRJLO"  # of SoupBinTCP packets


def recognise(begin: bytes) -> Known | None:
    """Return the known format that a file's first (decompressed) bytes indicate, None if there is none."""
    texts = (begin, plain_header(begin))
    for pattern, known in BY_PATTERN:
        if any(pattern.match(text) for text in texts):
            return known
    return next((known for holds, known in _BY_STRUCTURE if holds(begin)), None)


def refuse_known(source: Source) -> None:
    """Raise InputError for a file in a known format that no feed reads; leave a damaged file to its reader.

    Raises:
      InputError: names the format and what to do.
    """
    begin = beginning(source)
    known = recognise(begin)
    if known is not None:
        raise not_read(source, known.name, begin, known.remedy)


def not_read(where: object, name: str, begin: bytes, remedy: str) -> InputError:
    """Return the error for a file that no feed reads.

    Args:
      where: the file.
      name: its format.
      begin: its first bytes.
      remedy: what the user can do.
    """
    return InputError(
        "a format that no feed reads",
        where=where,
        expected=f"a file of one of the feeds {', '.join(FEEDS)}",
        was=f"{name}, beginning with {begin[:_SHOWN]!r}" if begin else name,
        remedy=remedy,
    )


def beginning(source: Source) -> bytes:
    """Return the first bytes of a file's content, b"" if the file is damaged."""
    try:
        return source.first_bytes(SNIFFED_BYTES)
    except InputError:
        return b""


def plain_header(begin: bytes) -> bytes:
    """Return text without its byte-order mark, and without quotes and blanks around the names in its first line."""
    header, *rest = begin.removeprefix(BOM).split(b"\n", 1)
    names = [name.strip(b' "\r\t') for name in header.split(b",")]
    return b"\n".join([b",".join(names), *rest])


def _packets(begin: bytes) -> list[bytes]:
    """Return the complete packets that are preceded by their lengths of 2 bytes."""
    found, at = [], 0
    while at + 2 <= len(begin):
        length = int.from_bytes(begin[at : at + 2], "big")
        if length == 0 or at + 2 + length > len(begin):
            break
        found.append(begin[at + 2 : at + 2 + length])
        at += 2 + length
    return found


def _is_message(body: bytes) -> bool:
    return bool(body) and SIZES.get(chr(body[0])) == len(body)


def _is_soup(begin: bytes) -> bool:
    """Return whether packets consist of a SoupBinTCP type and a complete ITCH message."""
    packets = _packets(begin)
    data = [packet[1:] for packet in packets if packet[:1] in (b"S", b"U")]
    typed = all(packet[0] in _SOUP_TYPES for packet in packets)
    return bool(data) and typed and all(_is_message(body) for body in data)


def _is_mold(begin: bytes) -> bool:
    """Return whether a MoldUDP64 header (session, sequence, count) is followed by as many ITCH messages."""
    session, count = begin[:10], int.from_bytes(begin[18:20], "big")
    packets = _packets(begin[20:])[:count]
    printable = len(session) == 10 and all(0x20 <= byte < 0x7F for byte in session)
    return printable and bool(packets) and all(_is_message(body) for body in packets)


def _is_bare(begin: bytes) -> bool:
    """Return whether ITCH 5.0 messages follow each other without lengths."""
    at = 0
    for _ in range(3):
        if at >= len(begin) or chr(begin[at]) not in SIZES:
            return False
        at += SIZES[chr(begin[at])]
    return begin[:1] == b"S" and begin[11:12] == b"O"


def _is_seconds_itch(begin: bytes) -> bool:
    """Return whether there are messages of seconds ("T"), and none with the length of an ITCH 5.0 message."""
    packets = _packets(begin)[:8]
    seconds = [packet for packet in packets if packet[:1] == b"T" and len(packet) == 5]
    return bool(seconds) and not any(_is_message(packet) for packet in packets)


def _is_pitch(begin: bytes) -> bool:
    """Return whether a Cboe sequenced unit header (length, count, unit, sequence) is followed by `count` messages."""
    length, count, at = int.from_bytes(begin[:2], "little"), begin[2] if len(begin) > 2 else 0, 8
    for _ in range(count):
        at += max(begin[at], 2) if at < len(begin) else length
    return count > 0 and at == length and begin[9:10] in (b"\x20", b"\x97", b"\x3b")


_BY_STRUCTURE: tuple[tuple[Callable[[bytes], bool], Known], ...] = (
    (_is_soup, SOUP),
    (_is_mold, MOLD),
    (_is_bare, BARE),
    (_is_seconds_itch, SECONDS),
    (_is_pitch, CBOE),
)
