"""Compile loops with Numba, and keep what was compiled from run to run without it going stale.

Numba's own cache notices a change in the file of a function, not in the files of functions that it calls: after an
upgrade, a part of the old code would go on running. Here the cache lies in a folder named by the content of every
source that compiled code can come from.
"""

import functools
import hashlib
import os
import pathlib

import numba

PACKAGE = pathlib.Path(__file__).parent
COMPILED_PARTS = ("jit.py", "events", "book", "simulation", "feeds", "writers", "statistics", "tokens", "evaluation")


def source_hash(package: pathlib.Path) -> str:
    """Return a hash of the names and the content of the Python files of a package's compiled parts."""
    digest = hashlib.sha256()
    sources = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] in COMPILED_PARTS]
    for path in sorted(sources):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def use_cache(folder: pathlib.Path) -> bool:
    """Let Numba keep compiled code in a folder; return whether one can write there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    numba.config.CACHE_DIR = str(folder)
    return os.access(folder, os.W_OK)


def _cache_folder() -> pathlib.Path:
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "lob_jax" / "numba" / source_hash(PACKAGE)


def compiled_before() -> bool:
    """Return whether loops of these sources have been compiled and kept, by an earlier run."""
    return bool(numba.config.CACHE_DIR) and any(pathlib.Path(numba.config.CACHE_DIR).rglob("*.nbi"))


_CACHED = bool(numba.config.CACHE_DIR) or use_cache(_cache_folder())

njit = functools.partial(numba.njit, cache=_CACHED)

# For functions that change arrays in place and make none. Numba would count references to every array of a book at each
# call, which costs a factor of ten; `_nrt` is a private option of Numba's.
in_place = functools.partial(njit, _nrt=False)

# The same, for functions that only compiled code calls: entry points for Python would take most of the compile time.
inner = functools.partial(in_place, no_cpython_wrapper=True, no_cfunc_wrapper=True)
