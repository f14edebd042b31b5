"""Compile loops with Numba, and cache the compiled code between runs without it becoming stale.

Numba's own cache detects a change in the file of a function, but not in the files of functions that it calls: after an
upgrade, parts of the old code would still run. Here the name of the cache folder is a hash of all source files that
compiled code can come from.
"""

import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numba

PACKAGE = pathlib.Path(__file__).parent
SETTINGS: Any = numba.config  # it sets its attributes by name when it is imported, which no type checker follows
COMPILED_PARTS = (
    "jit.py",
    "events",
    "book",
    "simulation",
    "feeds",
    "writers",
    "statistics",
    "tokens",
    "counts",
    "evaluation",
)


def source_hash(package: pathlib.Path) -> str:
    """Return a hash of the names and contents of the Python files in a package's compiled parts."""
    digest = hashlib.sha256()
    sources = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] in COMPILED_PARTS]
    for path in sorted(sources):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def use_cache(folder: pathlib.Path) -> bool:
    """Let Numba cache compiled code in a folder; return whether the folder is writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    SETTINGS.CACHE_DIR = str(folder)
    return os.access(folder, os.W_OK)


def _cache_folder() -> pathlib.Path:
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "lob_jax" / "numba" / source_hash(PACKAGE)


def compiled_before() -> bool:
    """Return whether an earlier run has cached compiled code of these sources."""
    return bool(SETTINGS.CACHE_DIR) and any(pathlib.Path(SETTINGS.CACHE_DIR).rglob("*.nbi"))


_CACHED = bool(SETTINGS.CACHE_DIR) or use_cache(_cache_folder())


def njit(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function by Numba, once for all numbers that compiled code calls it with.

    Numba takes a constant in a call for a type of its own, and would compile the function, and all that it calls, again
    for each constant: most of the compile time.
    """
    dispatcher: Any = numba.njit(function, cache=_CACHED, **options)
    dispatcher.get_call_template = functools.partial(_call_template, dispatcher.get_call_template)
    return dispatcher


def _call_template(template: Callable[..., Any], args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
    """Return what a dispatcher's own `get_call_template` returns, for the types of constants without their values."""
    plain = numba.types.unliteral
    return template([plain(one) for one in args], {name: plain(one) for name, one in kws.items()})


# For functions that change arrays in place and allocate none. Otherwise Numba would count references to every array of
# a book at each call, which is ten times slower. `_nrt` is a private option of Numba.
in_place = functools.partial(njit, _nrt=False)

# The same, for functions called only from compiled code: wrappers for Python would take most of the compile time.
inner = functools.partial(in_place, no_cpython_wrapper=True, no_cfunc_wrapper=True)
