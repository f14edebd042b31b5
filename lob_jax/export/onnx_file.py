"""Read of an ONNX file what a bundle must know before it is loaded: the files that it names, and its metadata.

ONNX's own library reads the whole graph, and opens the files that it names; here fields are skipped by their lengths,
and only those are followed that lead to a tensor, whose numbers may be in another file.
"""

import mmap
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from lob_jax.errors import InputError
from lob_jax.export.plain import AGAIN

DEEPEST = 64  # messages inside each other: graphs of branches and loops inside graphs
LOCATION = b"location"  # the key of a tensor's external data that names the file

# By message, the fields that lead to tensors, by number, each with its message; see onnx.proto.
_LEADS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 14: "StringStringEntryProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        **{5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto"},
        **{22: "SparseTensorProto", 23: "SparseTensorProto"},
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
    "StringStringEntryProto": {},
}
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # the kinds of fields; the two of groups are not in ONNX


class Facts(NamedTuple):
    """What an ONNX file says about itself.

    Attributes:
      external: the files that hold numbers of its tensors, as it names them, sorted.
      metadata: the pairs of its metadata_props.
    """

    external: tuple[str, ...]
    metadata: tuple[tuple[str, str], ...]


class _Damaged(ValueError):
    """The bytes are not those of a message."""


def read_facts(path: pathlib.Path) -> Facts:
    """Return what an ONNX file names.

    Raises:
      InputError: it is not an ONNX file.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            return _facts(raw)
    except (OSError, ValueError) as error:
        raise InputError(
            "a graph of the bundle cannot be read",
            where=path,
            expected="an ONNX file",
            was=error,
            remedy=AGAIN,
        ) from error


def _facts(raw: mmap.mmap | bytes) -> Facts:
    """Walk over the messages of a model; a message that occurs again is merged with the first, so all are read."""
    external: set[str] = set()
    metadata: list[tuple[str, str]] = []
    waiting = [("ModelProto", 0, len(raw), 0)]
    while waiting:
        message, start, end, depth = waiting.pop()
        if depth > DEEPEST:
            raise _Damaged(f"more than {DEEPEST} messages inside each other")
        for number, first, last in _fields(raw, start, end):
            inner = _LEADS[message].get(number)
            if inner == "StringStringEntryProto":
                key, value = _entry(raw, first, last)
                if message == "ModelProto":
                    metadata.append((key.decode(), value.decode()))
                elif key == LOCATION:
                    external.add(value.decode())
            elif inner is not None:
                waiting.append((inner, first, last, depth + 1))
    return Facts(tuple(sorted(external)), tuple(metadata))


def _fields(raw: mmap.mmap | bytes, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field with a length, and where its content starts and ends; skip all others."""
    while place < end:
        tag, place = _varint(raw, place, end)
        number, kind = tag >> 3, tag & 7
        if number == 0 or kind not in (_VARINT, _EIGHT, _BYTES, _FOUR):
            raise _Damaged(f"a field of number {number} and kind {kind} before byte {place:,}")
        if kind == _VARINT:
            _, place = _varint(raw, place, end)
            continue
        length, first = _varint(raw, place, end) if kind == _BYTES else (8 if kind == _EIGHT else 4, place)
        place = first + length
        if place > end:
            raise _Damaged(f"a field ends at byte {place:,}, and what it is part of at byte {end:,}")
        if kind == _BYTES:
            yield number, first, place


def _varint(raw: mmap.mmap | bytes, place: int, end: int) -> tuple[int, int]:
    """Return a number of variable length, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise _Damaged(f"it ends inside a number, at byte {end:,}")
        byte = raw[place]
        value, place = value | (byte & 127) << shift, place + 1
        if byte < 128:
            return value, place
    raise _Damaged(f"a number of more than ten bytes before byte {place:,}")


def _entry(raw: mmap.mmap | bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """Return a key and its value."""
    parts = {1: b"", 2: b""}
    for number, first, last in _fields(raw, start, end):
        parts[number] = raw[first:last]
    return parts[1], parts[2]
