"""Parse the lines of a Binance capture, `<time of arrival> <JSON>`, to messages of any stream, wrapped or bare.

Prices and quantities remain text, see `numbers`.
"""

import enum
import json
import re
from typing import Any, NamedTuple

from lob_jax.errors import InputError

LAST_NS = 2**62
_LAST_ID = 2**62
_NS_BY_DIGITS = {13: 10**6, 16: 10**3, 19: 1}
_SHOWN = 120


class Content(enum.Enum):
    """The type of a message."""

    DEPTH = enum.auto()
    SNAPSHOT = enum.auto()
    TRADE = enum.auto()
    AGGREGATE = enum.auto()
    ASIDE = enum.auto()
    FAULT = enum.auto()


TRADES = (Content.TRADE, Content.AGGREGATE)
EXECUTION = "MARKET"  # value of a futures trade's `X`
NOTHING_TRADED = "NA"
NO_EXECUTIONS = {  # other values of `X`, and what they mean
    NOTHING_TRADED: "a trade of nothing (NA)",
    "INSURANCE_FUND": "a trade of the insurance fund, which takes nothing from the book",
    "ADL": "a deleveraging, which takes nothing from the book",
}
BOOK_TICKER, ANOTHER_SYMBOL = "book ticker", "another symbol"  # reasons why a message does not concern the book
_PARTIAL = re.compile(r"@depth(5|10|20)(@|$)")


class Levels(NamedTuple):
    """The levels of a message as text.

    Attributes:
      text: a line "price,quantity" for each, bids first; None if they cannot be numbers.
      bids: how many are bids.
      asks: how many are asks.
    """

    text: bytes | None
    bids: int
    asks: int


NO_LEVELS = Levels(b"", 0, 0)


class Message(NamedTuple):
    """One message.

    Attributes:
      content: its type.
      symbol: the instrument; empty for a snapshot that does not name it.
      line: its line in the capture, from 1.
      raw: that line.
      receive_ns: time of arrival.
      time_ns: exchange time: of the transaction if the message has it, otherwise of sending; 0 if it has neither.
      first: first update id of a depth update.
      final: last update id of a depth update or snapshot.
      previous: last update id of the previous update, -1 if the message does not contain it.
      levels: bids and asks; for a trade, one level on the resting side.
      reason: why the message does not concern the book; empty if it does.
      fault: why the line is not a valid message; None if it is.
    """

    content: Content
    symbol: str
    line: int
    raw: bytes
    receive_ns: int
    time_ns: int = 0
    first: int = -1
    final: int = -1
    previous: int = -1
    levels: Levels = NO_LEVELS
    reason: str = ""
    fault: InputError | None = None


class _Wrong(Exception):
    """A message violates the format; converted to an `InputError` that names the line."""

    def __init__(self, what: str, expected: str, was: object):
        self.what, self.expected, self.was = what, expected, was


def parse_line(raw: bytes, line: int, *, where: object) -> Message:
    """Parse a line to a message; its prices and quantities remain text.

    Raises:
      InputError: the line violates the format.
    """
    try:
        time, _, text = raw.partition(b" ")
        receive_ns = _receive_ns(time)
        body, stream = _unwrapped(_decoded(text), text)
        return _message(body, stream, line=line, raw=raw, receive_ns=receive_ns)
    except _Wrong as wrong:
        raise refusal(wrong.what, where=f"{where}, line {line}", expected=wrong.expected, was=wrong.was) from None


def refusal(what: str, *, where: object, expected: object, was: object) -> InputError:
    """Return the error for a message that cannot be used."""
    return InputError(
        what, where=where, expected=expected, was=was, remedy="correct the line, or leave it out with on_error='skip'"
    )


def to_ns(number: int) -> int:
    """Convert a UNIX time in ms (13 digits), us (16) or ns (19) to ns; return -1 for another number of digits."""
    unit = _NS_BY_DIGITS.get(len(str(number)), 0) if 0 < number < 10**19 else 0
    return number * unit if unit and number * unit < LAST_NS else -1


def _receive_ns(time: bytes) -> int:
    receive_ns = to_ns(int(time)) if time.isdigit() and len(time) < 20 else -1
    if receive_ns < 0:
        raise _Wrong("a line without a time of arrival", "ns since 1970, a space, JSON", time[:_SHOWN])
    return receive_ns


def _decoded(text: bytes) -> Any:
    try:
        body = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise _Wrong("a line that is not JSON", "one JSON object after the time", f"{error}: {text[:_SHOWN]}") from None
    if type(body) is not dict and not _is_array(body):
        raise _Wrong("a line that is not a JSON object", "{...}", text[:_SHOWN])
    return body


def _is_array(body: Any) -> bool:
    """Return whether a message is an array of events, as sent by the streams of all symbols."""
    return type(body) is list and all(type(event) is dict and "e" in event for event in body)


def _unwrapped(body: Any, text: bytes) -> tuple[Any, str]:
    """Return the message inside a wrapper of combined streams, or inside a reply to a request, and its stream."""
    if type(body) is list:
        return body, ""
    stream, result = body.get("stream", ""), body.get("result")
    if "data" in body:
        body = body["data"]
        if (type(body) is not dict and not _is_array(body)) or type(stream) is not str:
            raise _Wrong("a wrapper without a message", '{"stream": "...", "data": {...}}', text[:_SHOWN])
    elif type(result) is dict and "lastUpdateId" in result:
        body = result
    return body, stream if type(stream) is str else ""


def _message(body: Any, stream: str, **known: Any) -> Message:
    """Return the message for a body, identified by its event type, or by its keys."""
    if type(body) is list:
        return _aside("another stream", **known)
    event = body.get("e")
    if _PARTIAL.search(stream):
        return _aside("partial depth, which has no place among the updates", **known)
    if event == "depthUpdate":
        return _depth(body, known)
    if event in ("trade", "aggTrade"):
        return _trade(body, Content.TRADE if event == "trade" else Content.AGGREGATE, known)
    if event == "bookTicker" or (event is None and {"u", "s", "b", "B", "a", "A"} <= body.keys()):
        return _aside(BOOK_TICKER, symbol=_text(body, "s"), **known)
    if event is None and "lastUpdateId" in body:
        return _snapshot(body, stream, known)
    if type(event) is str and event:
        return _aside("another stream", **known)
    if event is None and _is_reply(body):
        return _aside("a reply to a request", **known)
    expected = "an event, a snapshot or the reply to a request"
    raise _Wrong("a message of an unknown kind", expected, event if event is not None else sorted(body)[:10])


def _aside(reason: str, *, symbol: str = "", **known: Any) -> Message:
    """Return a message that does not concern the book."""
    return Message(Content.ASIDE, symbol, reason=reason, **known)


def _is_reply(body: dict[str, Any]) -> bool:
    return ("id" in body and ("result" in body or "error" in body)) or {"code", "msg"} <= body.keys()


def _depth(body: dict[str, Any], known: dict[str, Any]) -> Message:
    first, final = _id(body, "U"), _id(body, "u")
    if first > final:
        raise _Wrong("update ids that run backwards", "U at most u", f"U {first}, u {final}")
    previous = _id(body, "pu") if "pu" in body else -1
    return Message(
        Content.DEPTH,
        _text(body, "s"),
        time_ns=_time_ns(body, "T" if "T" in body else "E"),
        first=first,
        final=final,
        previous=previous,
        levels=_as_text(_levels(body, "b"), _levels(body, "a")),
        **known,
    )


def _trade(body: dict[str, Any], content: Content, known: dict[str, Any]) -> Message:
    kind = _text(body, "X") if "X" in body else EXECUTION
    if kind in NO_EXECUTIONS and (kind != NOTHING_TRADED or not _text(body, "q").strip("0.")):
        return _aside(NO_EXECUTIONS[kind], symbol=_text(body, "s"), **known)
    if kind != EXECUTION:
        expected = f"X one of {[EXECUTION, *NO_EXECUTIONS]}; quantity 0 if it is {NOTHING_TRADED}"
        raise _Wrong("a trade of unknown type", expected, f"X {kind[:_SHOWN]}, q {_text(body, 'q')[:_SHOWN]}")
    buyer_is_maker = _field(body, "m", bool)
    level = [[_text(body, "p"), _text(body, "q")]]
    levels = _as_text(level, []) if buyer_is_maker else _as_text([], level)  # the maker's order is the one that rested
    return Message(content, _text(body, "s"), time_ns=_time_ns(body, "T"), levels=levels, **known)


def _snapshot(body: dict[str, Any], stream: str, known: dict[str, Any]) -> Message:
    own = next((_text(body, key) for key in ("s", "symbol") if key in body), stream.partition("@")[0].upper())
    key = next((key for key in ("T", "E") if key in body), "")
    levels = _as_text(_levels(body, "bids"), _levels(body, "asks"))
    if not levels.bids + levels.asks:
        raise _Wrong("a snapshot without levels", "bids or asks", "two empty lists")
    time_ns = _time_ns(body, key) if key else 0
    return Message(Content.SNAPSHOT, own, time_ns=time_ns, final=_id(body, "lastUpdateId"), levels=levels, **known)


def _field(body: dict[str, Any], key: str, kind: type) -> Any:
    if key not in body:
        raise _Wrong(f"a message without {key!r}", f"the key {key!r}", sorted(body)[:12])
    value = body[key]
    if type(value) is not kind:
        raise _Wrong(f"a wrong type of {key!r}", kind.__name__, repr(value)[:_SHOWN])
    return value


def _text(body: dict[str, Any], key: str) -> str:
    """Return a non-empty text: a symbol, a price or a quantity."""
    text = _field(body, key, str)
    if not text:
        raise _Wrong(f"an empty {key!r}", "a non-empty text", "''")
    return text


def _id(body: dict[str, Any], key: str) -> int:
    number = _field(body, key, int)
    if not 0 <= number < _LAST_ID:
        raise _Wrong(f"a {key!r} out of range", f"0..{_LAST_ID - 1}", str(number)[:_SHOWN])
    return number


def _time_ns(body: dict[str, Any], key: str) -> int:
    number = _field(body, key, int)
    time_ns = to_ns(number)
    if time_ns < 0:
        raise _Wrong(f"a {key!r} that is not a time", "ms or us since 1970, 13 or 16 digits", str(number)[:_SHOWN])
    return time_ns


def _levels(body: dict[str, Any], key: str) -> list[list[str]]:
    """Return the levels of one side."""
    levels = _field(body, key, list)
    for level in levels:
        if type(level) is not list or len(level) != 2 or type(level[0]) is not str or type(level[1]) is not str:
            raise _Wrong(f"a level in {key!r} that is not a pair", '["price", "quantity"]', repr(level)[:_SHOWN])
    return levels


def _as_text(bids: list[list[str]], asks: list[list[str]]) -> Levels:
    """Return levels as lines, or as no text if one contains a comma or a line end, or is not ASCII."""
    levels = bids + asks
    text = "".join([f"{price},{quantity}\n" for price, quantity in levels])
    plain = text.isascii() and text.count("\n") == len(levels) == text.count(",") and "\r" not in text
    return Levels(text.encode() if plain else None, len(bids), len(asks))
