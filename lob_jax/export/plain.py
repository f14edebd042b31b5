"""Read JSON that was not necessarily written by this program: strictly, into dataclasses of plain values."""

import dataclasses
import json
import math
import pathlib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from lob_jax.errors import InputError
from lob_jax.later_keys import Source, lacked, refuse_newer

LARGEST = 16 * 2**20  # bytes of a JSON file
DEEPEST = 32  # objects and lists inside each other
AGAIN = "copy the bundle again from where it was written, or write it again with --mode=export"
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # to the end of the text if it has no end
_BRACKET = re.compile(rb"[\[\]{}]")

Made = TypeVar("Made")


def parse_object(raw: bytes, *, where: object) -> dict[str, Any]:
    """Return the object that a JSON text is.

    Raises:
      InputError: it is too large or too deep, not JSON, not an object, or has a key twice or a number that is none.
    """
    if len(raw) > LARGEST:
        raise unreadable(where, expected=f"at most {LARGEST:,} bytes of JSON", was=f"{len(raw):,} bytes")
    depth = _depth(raw)
    if depth > DEEPEST:
        raise unreadable(where, expected=f"at most {DEEPEST} objects and lists inside each other", was=depth)
    try:
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except ValueError as error:
        raise unreadable(where, expected="JSON, with every key once", was=error) from error
    if not isinstance(content, dict):
        raise unreadable(where, expected="a JSON object", was=type(content).__name__)
    return content


def read_object(path: pathlib.Path) -> dict[str, Any]:
    """Return the object in a JSON file, see `parse_object`."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise unreadable(path, expected="a JSON file", was=error) from error
    return parse_object(raw, where=path)


def unreadable(where: object, *, expected: object, was: object) -> InputError:
    """Return the error for a JSON text of a bundle that cannot be read."""
    return InputError("a file of the bundle cannot be read", where=where, expected=expected, was=was, remedy=AGAIN)


def text_of(content: Mapping[str, Any]) -> str:
    """Return the JSON text of a file in a bundle; NaN and infinities are None, since JSON does not have them."""
    return json.dumps(finite(content), indent=2, allow_nan=False) + "\n"


def made_of(cls: type[Made], content: Any, source: Source, *, at: str = "", inside: str = "") -> Made:
    """Return a dataclass whose fields are the entries of a JSON object; lists become tuples.

    Keys of `later_keys.LATER` that the object lacks have their neutral values.

    Args:
      cls: the dataclass; its fields are plain values, tuples of them, dataclasses, or one of these or None.
      content: the object.
      source: where it is from, for errors.
      at: its path there, such as "model"; empty for the whole.
      inside: the prefix of its keys in `LaterKey.key`, such as "model.".

    Raises:
      InputError: a key is missing or unknown, a value has another type, or the dataclass refuses the values.
    """
    if not isinstance(content, dict):
        raise _misfit(source, at, expected="an object", was=content)
    kinds = {name: kind for name, kind in typing.get_type_hints(cls).items() if name in _names(cls)}
    unknown = sorted(content.keys() - kinds.keys())
    refuse_newer((_below(at, name) for name in unknown), source)
    given = {**{key: later.neutral for key, later in lacked(content, kinds, inside=inside).items()}, **content}
    missing = sorted(kinds.keys() - given.keys())
    if unknown or missing:
        expected = f"the keys {', '.join(sorted(kinds))}"
        raise _misfit(source, at, expected=expected, was=f"without {missing}, and with {unknown}")
    how = {name: (source, _below(at, name), f"{inside}{name}.") for name in kinds}
    return cls(**{name: _value(kind, given[name], *how[name]) for name, kind in kinds.items()})


def _value(kind: Any, content: Any, source: Source, at: str, inside: str) -> Any:
    """Return a value of a type from JSON."""
    if typing.get_origin(kind) is types.UnionType:
        (kind,) = (one for one in typing.get_args(kind) if one is not types.NoneType)
        return None if content is None else _value(kind, content, source, at, inside)
    if dataclasses.is_dataclass(kind):
        return made_of(typing.cast(type, kind), content, source, at=at, inside=inside)
    if typing.get_origin(kind) is tuple:
        if not isinstance(content, list):
            raise _misfit(source, at, expected="a list", was=content)
        (of, _) = typing.get_args(kind)
        return tuple(_value(of, one, source, f"{at}[{place}]", inside) for place, one in enumerate(content))
    # A whole number may stand for a float, but True for no number.
    if type(content) is not kind and not (kind is float and type(content) is int):
        raise _misfit(source, at, expected=f"a value of type {kind.__name__}", was=content)
    return content


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(typing.cast(Any, cls))]


def _misfit(source: Source, at: str, *, expected: str, was: object) -> InputError:
    return InputError(
        f"{source.what} does not describe {source.of}",
        where=f"{source.where}, {at}" if at else source.where,
        expected=expected,
        was=was if isinstance(was, str) else json.dumps(was),
        remedy=AGAIN,
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of distinct keys: of two values of a key, readers of JSON do not agree which one counts."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return content


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _depth(raw: bytes) -> int:
    """Return how many objects and lists are inside each other at most; the parser recurses once for each."""
    depth = deepest = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", raw)):
        depth += 1 if bracket.group() in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def finite(value: Any) -> Any:
    """Return plain values as JSON has them: None for numbers that are not finite, lists for tuples."""
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
