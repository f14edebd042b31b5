"""Keys of clients: `python -m lob_jax.serving.http.keys add|list|revoke --file F NAME`.

A file of keys holds no keys, but a salt and the SHA-256 of salt and key for each. A key is 256 random bits, so that a
fast hash is right: nobody can try them all, unlike passwords, for which slow hashes are made.
"""

import argparse
import contextlib
import dataclasses
import datetime
import hashlib
import hmac
import json
import os
import pathlib
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Protocol

from lob_jax.errors import InputError

PREFIX = "lob_"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
LOOK_S = 1.0  # the file is looked at again after so long
LONGEST_KEY = 200  # characters of what is compared at all
EXIT_INPUT = 2


@dataclasses.dataclass(frozen=True)
class Entry:
    """A key, as it is kept.

    Attributes:
      name: its name: the owner of sessions, and what limits apply to.
      salt: random, hexadecimal.
      hash: SHA-256 of salt and key, hexadecimal.
      created: ISO 8601.
      expires: ISO 8601, or None.
      revoked: ISO 8601, or None.
    """

    name: str
    salt: str
    hash: str
    created: str
    expires: str | None = None
    revoked: str | None = None

    def valid(self, now: datetime.datetime) -> bool:
        """Return whether the key is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < datetime.datetime.fromisoformat(self.expires))


class Keys(Protocol):
    """Who may use a server."""

    def owner(self, key: str) -> str | None:
        """Return the name of a valid key, None for any other."""
        ...


class OneKey:
    """A key that lives as long as the process.

    Attributes:
      key: the key.
    """

    def __init__(self, name: str = "local"):
        self._name, self.key = name, new_key()

    def owner(self, key: str) -> str | None:
        """Return the name of the key."""
        return self._name if hmac.compare_digest(key.encode(), self.key.encode()) else None


class KeysFile:
    """The keys of a file, which is read again when it has changed: a key is revoked without a restart."""

    def __init__(self, path: pathlib.Path, *, look_s: float = LOOK_S):
        """Read the file; raise InputError if it cannot be read."""
        self._path, self._look_s = path, look_s
        self._stamp = _stamp(path)  # before it is read: a change in between is seen later
        self._entries = read_keys(path)
        self._looked = time.monotonic()

    def owner(self, key: str) -> str | None:
        """Return the name of a valid key, None for any other; every entry is compared, whichever it is."""
        self._look()
        given = key[:LONGEST_KEY]
        now, found = datetime.datetime.now(datetime.UTC), None
        for entry in self._entries:
            same = hmac.compare_digest(hash_of(given, entry.salt), entry.hash)
            found = entry.name if same and entry.valid(now) else found
        return found

    def _look(self) -> None:
        """Read the file again if it has changed; one that cannot be read admits nobody until it can be."""
        if time.monotonic() < self._looked + self._look_s:
            return
        self._looked = time.monotonic()
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._entries = read_keys(self._path)
            except InputError:
                self._entries = ()


def new_key() -> str:
    """Return a new key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str, salt: str) -> str:
    """Return the hash of a key, hexadecimal."""
    return hashlib.sha256(bytes.fromhex(salt) + key.encode()).hexdigest()


def _stamp(path: pathlib.Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def read_keys(path: pathlib.Path) -> tuple[Entry, ...]:
    """Return the entries of a file of keys.

    Raises:
      InputError: it cannot be read, or is none.
    """
    try:
        entries = tuple(Entry(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
        for entry in entries:
            entry.valid(datetime.datetime.now(datetime.UTC))
            bytes.fromhex(entry.salt), bytes.fromhex(entry.hash), NAME.fullmatch(entry.name)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            "the file of keys cannot be read",
            where=path,
            expected="a file that python -m lob_jax.serving.http.keys has written",
            was=f"{type(error).__name__}: {error}",
            remedy="write it with: python -m lob_jax.serving.http.keys add --file FILE NAME",
        ) from error
    return entries


def write_keys(path: pathlib.Path, entries: Sequence[Entry]) -> None:
    """Write a file of keys at once, readable by its owner only; a link stays one, so that all who read it see it."""
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # of mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump([dataclasses.asdict(entry) for entry in entries], file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def add(path: pathlib.Path, name: str, *, days: int | None = None) -> str:
    """Add a key to a file, and return the key, which is nowhere kept.

    Raises:
      InputError: the name is no name, or another key has it.
    """
    entries = read_keys(path) if path.exists() else ()
    _require(bool(NAME.fullmatch(name)), name, "letters, digits, _, - and ., up to 64")
    _require(name not in [entry.name for entry in entries], name, "a name that no key in the file has had")
    key, salt, now = new_key(), secrets.token_hex(16), datetime.datetime.now(datetime.UTC)
    expires = None if days is None else (now + datetime.timedelta(days=days)).isoformat(timespec="seconds")
    made = Entry(name, salt, hash_of(key, salt), now.isoformat(timespec="seconds"), expires)
    write_keys(path, [*entries, made])
    return key


def revoke(path: pathlib.Path, name: str) -> None:
    """Revoke a key of a file.

    Raises:
      InputError: there is no such key.
    """
    entries = read_keys(path)
    names = [entry.name for entry in entries]
    _require(name in names, name, f"one of {', '.join(names) or 'none'}")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    revoked = [dataclasses.replace(one, revoked=one.revoked or now) if one.name == name else one for one in entries]
    write_keys(path, revoked)


def _require(holds: bool, was: str, expected: str) -> None:
    if not holds:
        what = "the name of the key is invalid"
        raise InputError(what, where="NAME", expected=expected, was=was, remedy="choose another name; see list")


def _arguments(argv: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m lob_jax.serving.http.keys", description="Keys of clients.")
    parser.add_argument("do", choices=("add", "list", "revoke"))
    parser.add_argument("name", nargs="?", default="", help="the name of the key, for add and revoke")
    parser.add_argument("--file", type=pathlib.Path, required=True, help="the file of keys")
    parser.add_argument("--days", type=int, default=None, help="days after which an added key expires")
    return parser.parse_intermixed_args(argv)  # the name may come after --file


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    given = _arguments(argv)
    try:
        if given.do == "add":
            sys.stdout.write(add(given.file, given.name, days=given.days) + "\n")
        elif given.do == "revoke":
            revoke(given.file, given.name)
        else:
            for one in read_keys(given.file):
                told = {"expires": one.expires, "revoked": one.revoked}
                rest = "".join(f"  {what} {when}" for what, when in told.items() if when)
                sys.stdout.write(f"{one.name}  created {one.created}{rest}\n")
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
