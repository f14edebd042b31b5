"""Programs that XLA has compiled, kept from one run of the tests to the next.

JAX writes an entry of its cache in place: whoever reads it at that moment, or after the writer was killed, finds a part
of one. So every process has a folder of its own, filled with hard links to the kept entries, and those that are whole
are added to the kept ones in the end.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import shutil
import time
import zlib
from importlib import metadata

MOST_BYTES = 2**29  # of kept entries; the oldest go first
DAY_S = 86_400


def kept() -> pathlib.Path:
    """Return the folder of the kept entries, for this version of XLA and this kind of processor.

    JAX's keys do not tell processors apart, and a program for one may use instructions that another does not have.
    """
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    kind = f"{metadata.version('jaxlib')} {platform.machine()} {features}"
    root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return root / "lob_jax" / "tests" / hashlib.sha256(kind.encode()).hexdigest()[:16]


def fill(folder: pathlib.Path, store: pathlib.Path) -> None:
    """Link every kept entry into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in entries(store):
        with contextlib.suppress(FileNotFoundError):  # another session has pruned it
            os.link(f"{store}/{name}", f"{folder}/{name}")


def add(folder: pathlib.Path, store: pathlib.Path) -> None:
    """Keep the whole entries of a folder that are not kept yet."""
    store.mkdir(parents=True, exist_ok=True)
    held = set(entries(store))
    for name in entries(folder):
        if name not in held and is_whole((folder / name).read_bytes()):
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(folder / name, store / name)


def prune(store: pathlib.Path, most_bytes: int = MOST_BYTES) -> None:
    """Remove the oldest entries beyond a size in all, and the folders of processes that were killed a day ago."""
    for folder in store.parent.glob("session-*") if store.parent.exists() else ():
        if folder.stat().st_mtime < time.time() - DAY_S:
            shutil.rmtree(folder, ignore_errors=True)
    left = most_bytes
    found = [(name, os.stat(f"{store}/{name}")) for name in entries(store)]
    for name, status in sorted(found, key=lambda one: one[1].st_mtime, reverse=True):
        left -= status.st_size
        if left < 0:
            (store / name).unlink(missing_ok=True)


def entries(folder: pathlib.Path) -> list[str]:
    """Return the names of the entries of JAX's cache in a folder: strings, since there are tens of thousands."""
    return sorted(name for name in os.listdir(folder) if name.endswith("-cache")) if folder.exists() else []


def is_whole(entry: bytes) -> bool:
    """Return whether an entry is all there. JAX compresses with zlib where it finds nothing better: others are not
    kept.
    """
    unpacked = zlib.decompressobj()
    try:
        unpacked.decompress(entry)
    except zlib.error:
        return False
    return unpacked.eof
