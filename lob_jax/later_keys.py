"""Keys that came after version 0.1.0: what was stored without one is read as if it held the key's neutral value."""

import dataclasses
import importlib.metadata
import re
from collections.abc import Iterable, Mapping
from typing import Any

from lob_jax.errors import InputError

FIRST = "0.1.0"  # what was stored by a version that did not write its number is of this one
VERSION = "version"  # the key that the number is stored under


@dataclasses.dataclass(frozen=True)
class LaterKey:
    """A key that earlier versions have not stored.

    Attributes:
      key: where it is stored: a key of the configuration such as "model.window"; "data." and a path in the fingerprint
        of records; "checkpoint." and a field of `Meta`.
      neutral: plain JSON: what the program did before the key existed. The default in configs/base.py may be another.
      since: the first version that has the key.
      also: further places where the same value is stored: of a key of the data section, "data.inputs." and the key.
    """

    key: str
    neutral: Any
    since: str
    also: tuple[str, ...] = ()


# In the order of their versions. What lacks a key that is not listed here is refused.
LATER: tuple[LaterKey, ...] = ()


@dataclasses.dataclass(frozen=True)
class Source:
    """Where something stored was read, for errors.

    Attributes:
      what: it is, such as "the checkpoint".
      of: what it describes, such as "a run".
      where: it lies.
      written_by: the version of lob_jax that stored it.
    """

    what: str
    of: str
    where: object
    written_by: str


def version() -> str:
    """Return the version of lob_jax, which what it stores is marked with."""
    return importlib.metadata.version("lob_jax")


def lacked(stored: Iterable[str], wanted: Iterable[str], *, inside: str = "") -> dict[str, LaterKey]:
    """Return the later keys that what was stored lacks, by their paths.

    Args:
      stored: the paths that are there, such as "attention.kind".
      wanted: the paths that this version has.
      inside: what stands in front of these paths in `LaterKey.key`, such as "model.".
    """
    table = {place: later for later in LATER for place in (later.key, *later.also)}
    there = set(stored)
    return {path: table[inside + path] for path in wanted if path not in there and inside + path in table}


def completed(stored: Mapping[str, Any], wanted: Iterable[str], *, inside: str = "") -> dict[str, Any]:
    """Return flat values with the neutral values of the later keys that they lack; see `lacked`."""
    return {**stored, **{path: later.neutral for path, later in lacked(stored, wanted, inside=inside).items()}}


def whole(stored: Mapping[str, Any], wanted: Iterable[str], source: Source, *, inside: str = "") -> dict[str, Any]:
    """Return flat values for exactly the wanted paths: those stored, and the neutral values of later keys.

    Raises:
      InputError: a path is lacking that is no later key's, or there is one that this version does not know.
    """
    wanted = list(wanted)
    found = completed(stored, wanted, inside=inside)
    absent, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    refuse_newer(unknown, source)
    if absent or unknown:
        raise InputError(
            f"{source.what} is of another version of lob_jax",
            where=source.where,
            expected=f"all that this version keeps of {source.of}, {', '.join(absent) or 'and no more'}",
            was=f"without it, and with {', '.join(unknown) or 'nothing else'}",
            remedy=f"use the version that wrote it ({source.written_by}), or make it anew in another --workdir",
        )
    return found


def refuse_newer(unknown: Iterable[str], source: Source) -> None:
    """Check that no unknown key was stored by a newer version, for which it may mean anything.

    Raises:
      InputError: naming both versions and the keys.
    """
    unknown = list(unknown)
    if unknown and _numbers(source.written_by) > _numbers(version()):
        raise InputError(
            f"{source.what} was written by a newer version of lob_jax, {source.written_by}; this is {version()}",
            where=source.where,
            expected=f"keys that version {version()} knows",
            was=", ".join(unknown),
            remedy=f"update lob_jax to version {source.written_by}",
        )


def _numbers(name: str) -> tuple[int, ...]:
    """Return a version's numbers, to be compared: 0.10 is newer than 0.9."""
    release = re.split(r"[^\d.]", name, maxsplit=1)[0]  # without an ending such as "rc1"
    return tuple(int(number) for number in release.split(".") if number)


def remarks(lacked_keys: Iterable[LaterKey], source: Source) -> list[str]:
    """Return sentences that tell which keys something stored lacks, and how they are taken."""
    keys = {later.key: later for later in lacked_keys}.values()
    return [
        f"{source.what} was written by lob_jax {source.written_by}, before there was {later.key} (since {later.since}):"
        f" it is taken as {later.neutral!r}"
        for later in keys
    ]
