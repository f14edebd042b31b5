"""Name parameters by their paths, such as "blocks_0/ffn/widen/kernel", and choose some of them by patterns."""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

from lob_jax.errors import InputError

NEAR = 3  # names that an error suggests


def by_path(tree: Any) -> dict[str, Any]:
    """Return the leaves of nested dicts by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(entry.key for entry in path): leaf for path, leaf in leaves}


def shapes_of(params: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter by its path."""
    return {name: tuple(leaf.shape) for name, leaf in by_path(params).items()}


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return leaves by path as the nested dicts of them; the inverse of `by_path`."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *folders, last = name.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = leaf
    return tree


def matching(patterns: Iterable[str], names: Iterable[str]) -> frozenset[str]:
    """Return the names that one of the patterns matches, as in a shell, where * also stands for "/"."""
    patterns = list(patterns)
    return frozenset(name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


def require_matches(patterns: Sequence[str], names: Iterable[str], *, where: str) -> frozenset[str]:
    """Return the names that patterns match, each of which must match one.

    Args:
      patterns: the patterns.
      names: the paths that they may match.
      where: the key of the configuration that has the patterns, for errors.

    Raises:
      InputError: a pattern matches nothing; the error has names that are close to it.
    """
    names = sorted(names)
    for pattern in patterns:
        if not matching([pattern], names):
            near = difflib.get_close_matches(pattern, names, n=NEAR, cutoff=0.0)
            raise InputError(
                "a pattern matches no parameter",
                where=where,
                expected=f"patterns of paths such as {', '.join(near) or 'none, since there are no such parameters'}",
                was=repr(pattern),
                remedy="correct it; * stands for any text, also for several parts of a path",
            )
    return matching(patterns, names)
