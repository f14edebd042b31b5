"""Digests of a folder's files, so that damage is noticed before the files are used."""

import hashlib
import json
import os
import pathlib
from collections.abc import Sequence

DIGESTS = "digests.json"


def digest(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def seal(folder: pathlib.Path, *, unsettled: Sequence[str]) -> None:
    """Write the size and digest of every file of a folder into it, whole or not at all.

    Args:
      folder: the folder.
      unsettled: JSON files that others are still writing to: these are not looked at now, and must be there and
        readable later.
    """
    left_out = {DIGESTS, *unsettled}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in left_out)
    told = {
        "files": {str(path.relative_to(folder)): [path.stat().st_size, digest(path)] for path in files},
        "readable": list(unsettled),
    }
    partial = folder / f"{DIGESTS}.partial"
    partial.write_text(json.dumps(told, indent=1), encoding="utf-8")
    os.replace(partial, folder / DIGESTS)


def damage(folder: pathlib.Path) -> str | None:
    """Return what is wrong with a sealed folder, naming the file; None if each file is as it was sealed."""
    try:
        told = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        sizes = {name: (int(size), str(sha256)) for name, (size, sha256) in told["files"].items()}
        readable = [str(name) for name in told["readable"]]
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
    for name in readable:
        try:
            dict(json.loads((folder / name).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            return f"{name} cannot be read: {error}"
    return None
