"""Record digests of a folder's files, and detect damage before the files are used."""

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
    """Write the size and digest of every file of a folder into it, atomically.

    Args:
      folder: the folder.
      unsettled: names of JSON files that are still being written; they get no digest, but must be readable later.
    """
    left_out = {DIGESTS, *unsettled}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in left_out)
    record = {
        "files": {str(path.relative_to(folder)): [path.stat().st_size, digest(path)] for path in files},
        "readable": list(unsettled),
    }
    partial = folder / f"{DIGESTS}.partial"
    partial.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(partial, folder / DIGESTS)  # atomic: a kill leaves complete digests or none


def damage(folder: pathlib.Path) -> str | None:
    """Return what is wrong with a sealed folder, with the file's name; None if every file is as it was sealed."""
    try:
        record = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        sizes = {name: (int(size), str(sha256)) for name, (size, sha256) in record["files"].items()}
        readable = [str(name) for name in record["readable"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{DIGESTS} cannot be read: {error}"
    for name, (size, sha256) in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes instead of {size:,}"
        if digest(path) != sha256:
            return f"{name} has a different SHA-256 than when it was saved"
    for name in readable:
        try:
            dict(json.loads((folder / name).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            return f"{name} cannot be read: {error}"
    return None
