"""Keys and values of a configuration: what type each has, in words; how text becomes one; what was probably meant."""

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
LONGEST_NAME = 255  # bytes of a file's name
LARGEST = 2**63 - 1  # what the libraries beneath hold
ELEMENTS = {"model.heads.outlook_events": int}  # of the keys whose default has no element to tell by


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the values of a key are.

    Attributes:
      type: int, float, bool, str or tuple.
      element: of a tuple's values; None for no tuple.
      optional: whether None is one of them.
    """

    type: type
    element: type | None = None
    optional: bool = False

    def __str__(self) -> str:
        """Return what a value should be, in words."""
        words = SEVERAL[self.element or str] if self.type is tuple else WORDS[self.type]
        return f"{words}, or None" if self.optional else words

    def holds(self, value: object) -> bool:
        """Return whether a value is of this kind."""
        if value is None:
            return self.optional
        if self.type is tuple:
            return isinstance(value, tuple) and all(_is(part, self.element or str) for part in value)
        return _is(value, self.type)


def _is(value: object, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
    return isinstance(value, wanted)


def key_types(config: ml_collections.ConfigDict, prefix: str = "") -> dict[str, type]:
    """Return the type of every key, `section.key`; one that may be None has the type of its other values."""
    types = {}
    for key in config:
        if isinstance(config[key], ml_collections.ConfigDict):
            types |= key_types(config[key], f"{prefix}{key}.")
        else:
            types[prefix + key] = config.get_type(key)
    return types


def kinds_of(config: ml_collections.ConfigDict) -> dict[str, Kind]:
    """Return the kind of every key whose values can be written as text, `section.key`."""
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
    """Return the value that a text stands for.

    Numbers are as Python writes them; several are parted by commas, in brackets or not; "None" is None where that is
    allowed.

    Raises:
      InputError: the text is no such value.
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
    """Return which of the known words was probably meant; of keys, also one of the same last part."""
    known = list(known)
    same = [one for one in known if one.rpartition(".")[2] == word.rpartition(".")[2]]
    near = difflib.get_close_matches(word, known, n=1)
    last = difflib.get_close_matches(word.rpartition(".")[2], [one.rpartition(".")[2] for one in known], n=1)
    found = [*(same if len(same) == 1 else []), *near, *(one for one in known if one.rpartition(".")[2] in last)]
    return found[0] if found else None


def expanded(path: str, *, where: str) -> pathlib.Path:
    """Return a path with a leading ~ replaced by the home folder.

    Raises:
      InputError: there is no such home folder, or no file can have this name.
    """
    try:
        if max(map(len, os.fsencode(path).split(b"/"))) > LONGEST_NAME or "\0" in path:
            raise ValueError(f"no name is longer than {LONGEST_NAME} bytes, or holds a zero byte")
        return pathlib.Path(path).expanduser()
    except (RuntimeError, ValueError) as error:  # of the home folder; of letters that no name can have
        raise InputError(
            "a path that names nothing",
            where=where,
            expected="a path; ~ is your home folder",
            was=f"{path!r}: {error}",
            remedy="write the whole path",
        ) from error


def defaults() -> ml_collections.ConfigDict:
    """Return configs/base.py's configuration, which has every key.

    Raises:
      InputError: it is not there.
    """
    try:
        return importlib.import_module("lob_jax.configs.base").get_config()
    except ImportError as error:
        raise InputError(
            "the defaults are not there",
            where="configs/base.py",
            expected="configs/ beside lob_jax/ in a checkout, or inside it in an installation",
            was=error,
            remedy="install lob_jax anew, or bring the folder back",
        ) from error


def check_like(config: ml_collections.ConfigDict, model: ml_collections.ConfigDict) -> None:
    """Check that a configuration has the keys of another one, and values of their kinds.

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
    """Check that what is a section in the one is a section in the other."""
    for key, of in model.items():
        if key in config and isinstance(of, ml_collections.ConfigDict) != isinstance(
            config[key], ml_collections.ConfigDict
        ):
            section = isinstance(of, ml_collections.ConfigDict)
            raise InputError(
                "the configuration is built otherwise",
                where=f"config.{prefix}{key}",
                expected="a section of keys" if section else "a single value",
                was=type(config[key]).__name__,
                remedy="start from configs/base.py, and change values alone",
            )
        if key in config and isinstance(of, ml_collections.ConfigDict):
            _check_sections(config[key], of, f"{prefix}{key}.")


def unknown_key(key: str, known: Iterable[str]) -> InputError:
    """Return the error of a key that is none."""
    known = list(known)
    inside = [one for one in known if one.startswith(f"{key}.")]
    if inside:
        return InputError(
            "a section is no value",
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
