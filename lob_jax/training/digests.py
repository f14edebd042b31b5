"""Digests of a folder's files, so that damage is noticed before the files are used."""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

DIGESTS = "digests.json"


def digest(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def seal(folder: pathlib.Path, *, unsettled: Mapping[str, str]) -> None:
    """Write the size and digest of every file of a folder into it, whole or not at all.

    Args:
      folder: the folder.
      unsettled: JSON files that will still be written to, and the key that will change in each: of these the other
        keys are kept, not the digest.
    """
    left_out = {DIGESTS, *unsettled}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in left_out)
    told = {
        "files": {str(path.relative_to(folder)): [path.stat().st_size, digest(path)] for path in files},
        "fields": {name: [key, _fields(folder / name, but=key)] for name, key in unsettled.items()},
    }
    partial = folder / f"{DIGESTS}.partial"
    partial.write_text(json.dumps(told, indent=1), encoding="utf-8")
    os.replace(partial, folder / DIGESTS)


def damage(folder: pathlib.Path) -> str | None:
    """Return what is wrong with a sealed folder, naming the file; None if each file is as it was sealed."""
    try:
        told = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        sizes = {name: (int(size), str(sha256)) for name, (size, sha256) in told["files"].items()}
        fields = {name: (str(key), dict(kept)) for name, (key, kept) in told["fields"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{DIGESTS} cannot be read: {error}"
    for name, (size, sha256) in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes and not {size:,}"
        if digest(path) != sha256:
            return f"{name} has another SHA-256 than when it was saved"
    for name, (key, kept) in fields.items():
        try:
            found = _fields(folder / name, but=key)
        except (OSError, ValueError) as error:
            return f"{name} cannot be read: {error}"
        if found != kept:
            return f"{name} says something else than when it was saved"
    return None


def _fields(path: pathlib.Path, *, but: str) -> dict[str, Any]:
    """Return a JSON file's keys and values but for one key."""
    return {key: value for key, value in dict(json.loads(path.read_text(encoding="utf-8"))).items() if key != but}
