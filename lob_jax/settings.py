"""Keys and values of a configuration: their types, parsing of values, and suggestions for misspelled names."""

import dataclasses
import difflib
import importlib
import math
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import ml_collections

from lob_jax.errors import InputError

WORDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
SEVERAL: dict[type, str] = {
    int: "whole numbers, such as 10,20",
    float: "numbers, such as 0.1,0.9",
    str: 'words, such as "10 s","all"',
}
BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
WHOLE = re.compile(r"[+-]?\d+(_\d+)*", re.ASCII)
LONGEST_NAME = 255  # maximum bytes of a file name
LARGEST = 2**63 - 1  # an int64, as the libraries that use these values have
# Element types of keys whose default is an empty tuple.
ELEMENTS = {
    "model.heads.outlook_events": int,
    **dict.fromkeys(("train.init_allow", "train.frozen", "train.lora_also", "compare.runs", "serve.bundle"), str),
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """The type of a key's values.

    Attributes:
      type: int, float, bool, str or tuple.
      element: type of a tuple's elements; None for other types.
      optional: whether None is allowed.
    """

    type: type
    element: type | None = None
    optional: bool = False

    def __str__(self) -> str:
        """Describe the type in words."""
        words = SEVERAL[self.element or str] if self.type is tuple else WORDS[self.type]
        return f"{words}, or None" if self.optional else words

    def holds(self, value: object) -> bool:
        """Return whether a value has this type."""
        if value is None:
            return self.optional
        if self.type is tuple:
            return isinstance(value, tuple) and all(_is(part, self.element or str) for part in value)
        return _is(value, self.type)


def _is(value: object, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if wanted is int:  # Python's bool is a subclass of int
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
    return isinstance(value, wanted)


def key_types(config: ml_collections.ConfigDict, prefix: str = "") -> dict[str, type]:
    """Return the type of every key, by `section.key`; for a key that may be None, the type of its other values."""
    types = {}
    for key in config:
        if isinstance(config[key], ml_collections.ConfigDict):
            types |= key_types(config[key], f"{prefix}{key}.")
        else:
            types[prefix + key] = config.get_type(key)
    return types


def kinds_of(config: ml_collections.ConfigDict) -> dict[str, Kind]:
    """Return the kind of every key whose values can be written as text, by `section.key`."""
    kinds = {}
    for key, of in key_types(config).items():
        value = value_of(config, key)
        if of is tuple:
            kinds[key] = Kind(tuple, type(value[0]) if value else ELEMENTS.get(key))
        elif of in WORDS:
            kinds[key] = Kind(of, optional=value is None)
    return kinds


def value_of(config: ml_collections.ConfigDict, key: str) -> Any:
    """Return the value of `section.key`."""
    for part in key.split("."):
        config = config[part]
    return config


def read(text: str, kind: Kind, *, where: str) -> Any:
    """Parse a value of a kind.

    Numbers are written as in Python; the elements of a tuple are separated by commas, with or without brackets; "None"
    is None if the kind is optional.

    Raises:
      InputError: the text is not a value of this kind.
    """
    text = text.strip() if kind.type is not str else text
    if kind.optional and text in ("None", "none"):
        return None
    try:
        value = _several(text, kind.element or str) if kind.type is tuple else _single(text, kind.type)
    except (ValueError, KeyError):
        value = None
    if value is None or not kind.holds(value):
        raise InputError(
            "a value of the wrong type",
            where=where,
            expected=kind,
            was=repr(text),
            remedy=f"write {where}={_example(kind)}",
        )
    return value


def _example(kind: Kind) -> str:
    single: dict[type, str] = {int: "10", float: "0.1", bool: "True", str: "name"}
    return (
        {int: "10,20", float: "0.1,0.9"}.get(kind.element, "'16 events,all'")
        if kind.type is tuple
        else single[kind.type]
    )


def _single(text: str, wanted: type) -> Any:
    if wanted is bool:
        return BOOLEANS[text.lower()]
    if wanted is int and WHOLE.fullmatch(text) is None:
        raise ValueError(text)
    if wanted is str and "\0" in text:
        raise ValueError(text)
    return wanted(text)


def _several(text: str, element: type) -> tuple[Any, ...]:
    if text[:1] + text[-1:] in ("()", "[]"):
        text = text[1:-1].strip()
    parts = [part.strip().strip("'\"") for part in text.removesuffix(",").split(",")]
    return () if parts == [""] else tuple(_single(part, element) for part in parts)


def meant(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, or None; for keys, also one with the same last part."""
    known = list(known)
    same = [one for one in known if one.rpartition(".")[2] == word.rpartition(".")[2]]
    near = difflib.get_close_matches(word, known, n=1)
    last = difflib.get_close_matches(word.rpartition(".")[2], [one.rpartition(".")[2] for one in known], n=1)
    found = [*(same if len(same) == 1 else []), *near, *(one for one in known if one.rpartition(".")[2] in last)]
    return found[0] if found else None


def expanded(path: str, *, where: str) -> pathlib.Path:
    """Return a path with a leading ~ replaced by the home folder.

    Raises:
      InputError: there is no such home folder, or the path is not valid.
    """
    try:
        if max(map(len, os.fsencode(path).split(b"/"))) > LONGEST_NAME or "\0" in path:
            raise ValueError(f"a name has more than {LONGEST_NAME} bytes, or a zero byte")
        return pathlib.Path(path).expanduser()
    except (RuntimeError, ValueError) as error:  # from an unknown home folder; from an invalid name
        raise InputError(
            "an invalid path",
            where=where,
            expected="a path; ~ is your home folder",
            was=f"{path!r}: {error}",
            remedy="write the complete path",
        ) from error


def defaults() -> ml_collections.ConfigDict:
    """Return the configuration of configs/base.py, which has every key.

    Raises:
      InputError: it cannot be imported.
    """
    try:
        return importlib.import_module("lob_jax.configs.base").get_config()
    except ImportError as error:
        raise InputError(
            "the default configuration is missing",
            where="configs/base.py",
            expected="configs/ next to lob_jax/ in a checkout, or inside it in an installation",
            was=error,
            remedy="reinstall lob_jax, or restore the folder",
        ) from error


def check_like(config: ml_collections.ConfigDict, model: ml_collections.ConfigDict) -> None:
    """Check that a configuration has the same keys as another one, with values of the same kinds.

    Raises:
      InputError: the first key that is missing, unknown, or of another kind.
    """
    _check_sections(config, model)
    kinds, keys = kinds_of(model), key_types(config)
    for key in keys:
        if key not in kinds:
            raise unknown_key(key, kinds)
    for key, kind in kinds.items():
        if key not in keys:
            raise InputError(
                "the configuration lacks a key",
                where=f"config.{key}",
                expected=kind,
                was="no such key",
                remedy=f"add it to the configuration file; its default in configs/base.py is {value_of(model, key)!r}",
            )
        value = value_of(config, key)
        if not kind.holds(value):
            raise InputError(
                "a value of the wrong type",
                where=f"config.{key}",
                expected=kind,
                was=repr(value),
                remedy=f"correct it in the configuration file, or pass --config.{key}={_example(kind)}",
            )


def _check_sections(config: ml_collections.ConfigDict, model: ml_collections.ConfigDict, prefix: str = "") -> None:
    """Check that both configurations have the same sections."""
    for key, of in model.items():
        if key in config and isinstance(of, ml_collections.ConfigDict) != isinstance(
            config[key], ml_collections.ConfigDict
        ):
            section = isinstance(of, ml_collections.ConfigDict)
            raise InputError(
                "the configuration has a different structure",
                where=f"config.{prefix}{key}",
                expected="a section of keys" if section else "a single value",
                was=type(config[key]).__name__,
                remedy="start from configs/base.py, and change only values",
            )
        if key in config and isinstance(of, ml_collections.ConfigDict):
            _check_sections(config[key], of, f"{prefix}{key}.")


def unknown_key(key: str, known: Iterable[str]) -> InputError:
    """Return the error for an unknown key."""
    known = list(known)
    inside = [one for one in known if one.startswith(f"{key}.")]
    if inside:
        return InputError(
            "a section cannot be set as a value",
            where=f"config.{key}",
            expected=f"one of its keys, such as config.{inside[0]}",
            was=f"config.{key}",
            remedy=f"write --config.{inside[0]}=",
        )
    near = meant(key, known)
    return InputError(
        "the configuration has no such key",
        where=f"config.{key}",
        expected="a key of configs/base.py",
        was=f"config.{key}",
        remedy=f"did you mean config.{near}?" if near else "look for it in configs/base.py, which has all of them",
    )
