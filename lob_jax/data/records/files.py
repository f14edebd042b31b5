"""Files that are whole or absent: written under another name, flushed to the disk, then renamed."""

import hashlib
import os
import pathlib


def write_whole(path: pathlib.Path, content: bytes) -> None:
    """Write a file atomically, and durably: flush its content to the disk before it gets its name."""
    partial = partial_path(path)
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def partial_path(path: pathlib.Path) -> pathlib.Path:
    """Return the path of a file while it is being written; every process, even a dying one, has a different path."""
    return path.with_name(f"{path.name}.{os.getpid()}.partial")


def sha256_of(path: pathlib.Path) -> str:
    """Return the SHA-256 hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
