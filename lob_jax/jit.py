"""Compile loops with Numba, and cache the compiled code between runs without it becoming stale.

Numba's own cache detects a change in the file of a function, but not in the files of functions that it calls: after an
upgrade, parts of the old code would still run. It also looks for a function by the path of its file. Here compiled code
is kept under a hash of the function's file and of all that it imports, so that a copy of the package finds it too.
"""

import functools
import hashlib
import inspect
import os
import pathlib
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numba

PACKAGE = pathlib.Path(__file__).parent
SETTINGS: Any = numba.config  # it sets its attributes by name when it is imported, which no type checker follows

_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b([^(\n]*(?:\([^)]*)?)|import[ \t]+(.+))", re.MULTILINE)


def source_hash(source: pathlib.Path, roots: Mapping[str, pathlib.Path]) -> str:
    """Return a hash of the contents of a Python file and of the files that it imports, directly or not.

    Args:
      source: the file.
      roots: where to look for imported files: the folder that holds a package, by the package's name.
    """
    found, waiting = set(), [source]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += imported(file, frozenset(roots.items()))
    return hashlib.sha256(b"".join([_digest(source), *sorted(map(_digest, found))])).hexdigest()[:16]


@functools.cache
def _digest(file: pathlib.Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


@functools.cache
def imported(file: pathlib.Path, roots: frozenset[tuple[str, pathlib.Path]]) -> list[pathlib.Path]:
    """Return the files that a file imports from some packages, among them modules whose names are imported."""
    root_of = dict(roots)
    names = {name for statement in _IMPORT.finditer(file.read_text(encoding="utf-8")) for name in _names(statement)}
    inside = [(root_of[package], name) for name in sorted(names) if (package := name.partition(".")[0]) in root_of]
    bases = [root.joinpath(*name.split(".")) for root, name in inside]
    return [path for base in bases for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]


def _names(statement: re.Match[str]) -> Iterator[str]:
    """Yield the dotted names that an import statement may load as modules."""
    base, names, modules = statement.groups()
    if base is None:
        yield from re.findall(r"[\w.]+", modules)
    else:
        yield base
        yield from (f"{base}.{name}" for name in re.findall(r"\w+", names))


def cache_folder() -> pathlib.Path:
    """Return the folder of all compiled code: NUMBA_CACHE_DIR, or one in the user's cache."""
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(SETTINGS.CACHE_DIR or pathlib.Path(root) / "lob_jax" / "numba")


def is_writable(folder: pathlib.Path) -> bool:
    """Return whether files can be written in a folder, which is made if it is absent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _folder(source: pathlib.Path, digest: str) -> pathlib.Path:
    return cache_folder() / f"{source.stem}_{digest}"


class Locator:
    """Where Numba keeps the compiled code of a function, in the form in which its caches ask for it."""

    def __init__(self, function: types.FunctionType) -> None:
        """Find the folder of a function's compiled code."""
        source, parts = pathlib.Path(function.__code__.co_filename), function.__module__.split(".")
        above = len(parts) - (source.name != "__init__.py")
        roots = {parts[0]: source.parents[above], PACKAGE.name: PACKAGE.parent}
        self._hash, self._line = source_hash(source, roots), function.__code__.co_firstlineno
        self._folder = _folder(source, self._hash)
        self._py_file = str(source)  # for a warning of Numba's

    @classmethod
    def from_function(cls, function: types.FunctionType, file: str) -> "Locator":
        """Return the locator of a function; Numba calls this."""
        return cls(function)

    def ensure_cache_path(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """Return what changes when the function, or something that it may call, does."""
        return self._hash

    def get_disambiguator(self) -> str:
        """Return what tells functions of one name apart."""
        return str(self._line)


def compiled_before() -> bool:
    """Return whether an earlier run has cached compiled code of the book's loops."""
    loops = PACKAGE / "book" / "loops.py"
    return any(_folder(loops, source_hash(loops, {PACKAGE.name: PACKAGE.parent})).glob("*.nbi"))


_CACHED = is_writable(cache_folder())


def njit(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function by Numba, once for all numbers that compiled code calls it with.

    Numba takes a constant in a call for a type of its own, and would compile the function, and all that it calls, again
    for each constant: most of the compile time.
    """
    cached = _CACHED and pathlib.Path(inspect.getfile(function)).is_file()  # unlike functions of a notebook
    before, SETTINGS.CACHE_LOCATOR_CLASSES = SETTINGS.CACHE_LOCATOR_CLASSES, f"{__name__}.{Locator.__name__}"
    try:
        dispatcher: Any = numba.njit(function, cache=cached, **options)
    finally:
        SETTINGS.CACHE_LOCATOR_CLASSES = before
    dispatcher.get_call_template = functools.partial(_call_template, dispatcher.get_call_template)
    return dispatcher


def _call_template(template: Callable[..., Any], args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
    """Return what a dispatcher's own `get_call_template` returns, for the types of constants without their values."""
    plain = numba.types.unliteral
    return template([plain(one) for one in args], {name: plain(one) for name, one in kws.items()})


# For functions that change arrays in place and allocate none. Otherwise Numba would count references to every array of
# a book at each call, which runs ten times slower and takes several times as long to compile. Numba calls the option
# private.
in_place = functools.partial(njit, _nrt=False)

# The same, for long loops of which another thread need not wait for the end.
released = functools.partial(in_place, nogil=True)

# As `in_place`, for functions called only from compiled code: wrappers for Python would take most of the compile time.
inner = functools.partial(in_place, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# The same, compiled into each place that calls it: a call copies every array of its arguments, seven words each, which
# takes longer than all that is done about a short message.
inlined = functools.partial(inner, forceinline=True)
