"""A search space as one line of text: which keys of the configuration a sweep varies, and over what.

Such a line is `train.learning_rate=log(1e-4,1e-2) model.dropout=uniform(0,0.3) train.batch_size=choice(8,16)`.
"""

import ast
import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lob_jax.errors import InputError
from lob_jax.settings import LARGEST

Value = bool | int | float | str

KINDS = ("uniform", "log", "choice")
WHERE = "config.sweep.space"
EXAMPLE = "train.learning_rate=log(1e-4,1e-2) train.batch_size=choice(8,16)"
# Why a key cannot be searched, by the longest of these that it begins with.
NOT_SEARCHED = {
    "": "only what a model is and how it is trained can be searched: keys of model and train",
    "data.": "records are prepared once, for all trials",
    "tokens.": "records are prepared once, for all trials",
    "model.max_seq_length": "records are prepared once, for all trials",
    "model.vocab_size": "the tokenizer decides it",
    "seed": "a lucky seed is no better setting",
    "train.validation_windows": "losses of different windows cannot be compared",
    "train.validate_every": "trials are compared validation by validation",
    "train.log_every": "it changes no loss",
    "train.keep_best": "it changes no loss",
    "model.": "",
    "train.": "",
}
_ENTRY = re.compile(r"\s*([\w.]+)\s*=\s*(\w+)\s*\(([^()]*)\)(?=\s|$)")


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included: even in themselves, or in their logarithms; whole ones or any."""

    key: str
    low: float
    high: float
    log: bool
    whole: bool


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some values, in no order."""

    key: str
    values: tuple[Value, ...]


Space = tuple[Range | Choice, ...]


class Suggests(Protocol):
    """What a trial of Optuna can be asked for."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Return a number from low to high."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Return a whole number from low to high."""

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Any:
        """Return one of the choices."""


def parse_space(text: str, *, types: Mapping[str, type]) -> Space:
    """Return the space that a line describes.

    Args:
      text: entries `<key>=uniform(low,high)`, `<key>=log(low,high)` or `<key>=choice(a,b,...)`, by spaces.
      types: of every key of the configuration, such as {"train.learning_rate": float}.

    Raises:
      InputError: the first entry that cannot be read, is of no key or of one that cannot be searched, has values of
        another type, an empty range, or a key that came before.
    """
    space, at = [], 0
    while text[at:].strip():
        entry = _ENTRY.match(text, at)
        if entry is None:
            raise _fault(
                "an entry of the search space cannot be read",
                expected=f"<key>=<{'|'.join(KINDS)}>(<values>), by spaces, such as {EXAMPLE}",
                was=text[at:].strip(),
                remedy="write it so, in quotes on a command line",
            )
        key, kind, inside = entry.groups()
        _check_key(key, types, before={dimension.key for dimension in space})
        values = [_parse_value(part.strip(), types[key], key=key) for part in inside.split(",")]
        space.append(_dimension(key, kind, values, whole=types[key] is int))
        at = entry.end()
    if not space:
        raise _fault("the search space is empty", expected=EXAMPLE, was=repr(text), remedy="name a key at least")
    return tuple(space)


def _fault(what: str, *, expected: object, was: object, remedy: str, key: str | None = None) -> InputError:
    where = WHERE if key is None else f"{WHERE}, {key}"
    return InputError(what, where=where, expected=expected, was=was, remedy=remedy)


def _check_key(key: str, types: Mapping[str, type], *, before: set[str]) -> None:
    if key not in types:
        meant = difflib.get_close_matches(key, types, n=1)
        raise _fault(
            "the search space names a key that the configuration does not have",
            expected=f"a key of configs/base.py{f', such as {meant[0]}' if meant else ''}",
            was=key,
            remedy="correct the key",
        )
    reason = NOT_SEARCHED[max((start for start in NOT_SEARCHED if key.startswith(start)), key=len)]
    if reason:
        raise _fault(
            "a key that a sweep cannot search",
            expected="a key of model or train that changes the loss of the same records",
            was=f"{key}: {reason}",
            remedy=f"set --config.{key} for the whole sweep; sweep another value in another --workdir",
        )
    if key in before:
        raise _fault("a key comes twice", expected="one entry a key", was=key, remedy="leave one of them out")


def _parse_value(text: str, wanted: type, *, key: str) -> Value:
    """Return a value of the key's type: numbers as Python writes them, True or False, names without quotes."""
    value = text if wanted is str else _literal(text)
    if wanted is float and type(value) is int:
        value = float(value)
    beyond = isinstance(value, int | float) and not abs(value) <= LARGEST
    if type(value) is not wanted or value == "" or beyond:
        raise _fault(
            "a value of the search space is of the wrong type",
            key=key,
            expected={int: "whole numbers", float: "numbers", bool: "True or False"}.get(wanted, "names"),
            was=repr(text),
            remedy="correct the value, or the key",
        )
    return value


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def _dimension(key: str, kind: str, values: list[Value], *, whole: bool) -> Range | Choice:
    if kind == "choice":
        if len(values) < 2 or len(set(values)) < len(values):
            raise _fault(
                "there is nothing to choose from",
                key=key,
                expected="two different values or more",
                was=f"choice({','.join(map(str, values))})",
                remedy=f"add values, or leave the entry out and set --config.{key}",
            )
        return Choice(key, tuple(values))
    was = f"{kind}({','.join(map(str, values))})"
    if kind not in KINDS:
        raise _fault("no such kind of range", key=key, expected=f"one of {KINDS}", was=was, remedy="choose one")
    numbers = [value for value in values if not isinstance(value, str | bool)]
    if len(numbers) < len(values):
        raise _fault(
            "a range needs numbers", key=key, expected="choice(a,b,...) for what is no number", was=was, remedy="use it"
        )
    if len(numbers) != 2 or not numbers[0] < numbers[1] or (kind == "log" and numbers[0] <= 0):
        raise _fault(
            "the range is empty",
            key=key,
            expected="a lower and a higher end" + (", both above 0" if kind == "log" else ""),
            was=was,
            remedy="give (low,high)",
        )
    return Range(key, numbers[0], numbers[1], log=kind == "log", whole=whole)


def describe_space(space: Space) -> str:
    """Return a line that `parse_space` reads as the same space."""
    return " ".join(
        f"{dimension.key}=choice({','.join(str(value) for value in dimension.values)})"
        if isinstance(dimension, Choice)
        else f"{dimension.key}={'log' if dimension.log else 'uniform'}({dimension.low!r},{dimension.high!r})"
        for dimension in space
    )


def suggest(space: Space, trial: Suggests) -> dict[str, Value]:
    """Return a value of every key, as a trial suggests them."""
    values = {}
    for part in space:
        if isinstance(part, Choice):
            values[part.key] = trial.suggest_categorical(part.key, part.values)
        elif part.whole:
            values[part.key] = trial.suggest_int(part.key, int(part.low), int(part.high), log=part.log)
        else:
            values[part.key] = trial.suggest_float(part.key, part.low, part.high, log=part.log)
    return values
