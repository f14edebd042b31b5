"""Read JSON bodies strictly: bounded before they are parsed, numbers kept exact, nothing repaired."""

import asyncio
import collections
import decimal
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lob_jax.serving.config import Limits
from lob_jax.serving.http.problems import Problem

JSON = "application/json"
LONGEST_NUMBER = 64  # characters; the longest integer that has a meaning here has 20
GREATEST_EXPONENT = 300  # beyond that, numbers leave the range of float64
LINGER_BYTES, LINGER_S = 8 << 20, 1.0  # of a refused body that are still read, so that the client reads the refusal

Receive = Callable[[], Awaitable[Any]]

# Strings, also one that never ends, or brackets: each byte is looked at once, whatever the body is.
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


class Gone(Exception):
    """Raised where the client has closed its connection."""


async def read_body(receive: Receive, headers: Mapping[str, str], limits: Limits) -> bytes:
    """Return the body of a request.

    Raises:
      Problem: it is not JSON by its type, too large or too slow.
      Gone: the client has left.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Problem("media-type", f"expected {JSON}", was=kind[:100] or "no Content-Type")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("media-type", "a compressed body is not read", was=headers["content-encoding"][:100])
    try:
        async with asyncio.timeout(limits.body_s):
            return await _bounded(receive, headers.get("content-length", ""), limits.body_bytes)
    except TimeoutError as error:
        close = {"Connection": "close"}
        raise Problem("body-timeout", f"the body did not arrive within {limits.body_s:g} s", headers=close) from error


async def _bounded(receive: Receive, announced: str, most: int) -> bytes:
    body = bytearray()
    if announced.isdecimal() and int(announced[:20]) > most:
        raise await _too_large(receive, most)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body += message.get("body", b"")
        if len(body) > most:
            raise await _too_large(receive, most)
        if not message.get("more_body", False):
            return bytes(body)


async def _too_large(receive: Receive, most: int) -> Problem:
    """Return the problem of a body that is too large, after reading a little more of it.

    A connection that is closed with unread data is reset, and the client may never see why.
    """
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    break
    except TimeoutError:
        pass
    return Problem("too-large", f"a body has at most {most:,} bytes", headers={"Connection": "close"})


def parse_json(body: bytes | str, *, depth: int) -> Any:
    """Return what a JSON text says, with numbers that have a point or an exponent as Decimal.

    Args:
      body: UTF-8.
      depth: greatest nesting of lists and objects.

    Raises:
      Problem: it is no JSON, nested too deeply, repeats a key, or holds a number that is none.
    """
    try:
        data = body.encode() if isinstance(body, str) else body
        text = data.decode("utf-8")
    except UnicodeError as error:
        raise Problem("invalid-json", "the body is not UTF-8") from error
    _check_depth(data, depth)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place: dict[str, Any] = {"line": error.lineno, "column": error.colno}
        raise Problem("invalid-json", f"the body is not JSON: {error.msg}", **place) from error


def _check_depth(data: bytes, most: int) -> None:
    depth = 0
    for found in _STRUCTURE.finditer(data):
        byte = data[found.start()]
        if byte in b"[{":
            depth += 1
            if depth > most:
                raise Problem("invalid-json", f"the body is nested more than {most} deep")
        elif byte in b"]}":
            depth -= 1


def _number(text: str) -> decimal.Decimal:
    if len(text) <= LONGEST_NUMBER:
        try:
            found = decimal.Decimal(text)
            if abs(found.adjusted()) <= GREATEST_EXPONENT or not found:
                return found
        except decimal.InvalidOperation:  # an exponent of many digits
            pass
    raise Problem("invalid-json", "a number is too long or too large", was=text[:LONGEST_NUMBER])


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise Problem("invalid-json", f"an integer has more than {LONGEST_NUMBER} digits", was=text[:LONGEST_NUMBER])
    return int(text)


def _constant(text: str) -> None:
    raise Problem("invalid-json", "NaN and infinities are no JSON", was=text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = collections.Counter(key for key, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise Problem("invalid-json", "an object has a key twice", was=twice[:LONGEST_NUMBER])
    return found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number, parse_int=_integer, parse_constant=_constant
)
