"""Search spaces as one line of text: which keys of the configuration a sweep varies, and over which values.

An example is `train.learning_rate=log(1e-4,1e-2) model.dropout=uniform(0,0.3) train.batch_size=choice(8,16)`.
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
# Why a key cannot be searched: the longest matching prefix decides, and an empty reason means that it can.
NOT_SEARCHED = {
    "": "only keys of model and train can be searched",
    "data.": "all trials share the same records",
    "tokens.": "all trials share the same records",
    "model.max_seq_length": "all trials share the same records",
    "model.vocab_size": "the tokenizer decides it",
    "seed": "a lucky seed is not a better setting",
    "train.validation_windows": "losses of different windows cannot be compared",
    "train.validate_every": "the pruner compares trials validation by validation",
    "train.log_every": "it does not change the loss",
    "train.keep_best": "it does not change the loss",
    "model.": "",
    "train.": "",
}
_ENTRY = re.compile(r"\s*([\w.]+)\s*=\s*(\w+)\s*\(([^()]*)\)(?=\s|$)")


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included.

    Attributes:
      key: the key that is varied.
      low: the smallest value.
      high: the largest value.
      log: uniform in the logarithm, rather than in the value.
      whole: integers only.
    """

    key: str
    low: float
    high: float
    log: bool
    whole: bool


@dataclasses.dataclass(frozen=True)
class Choice:
    """A choice between values that have no order."""

    key: str
    values: tuple[Value, ...]


Space = tuple[Range | Choice, ...]


class Suggests(Protocol):
    """The methods of an Optuna trial that `suggest` calls."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Return a number from low to high."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Return a whole number from low to high."""

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Any:
        """Return one of the choices."""


def parse_space(text: str, *, types: Mapping[str, type]) -> Space:
    """Parse a search space.

    Args:
      text: entries `<key>=uniform(low,high)`, `<key>=log(low,high)` or `<key>=choice(a,b,...)`, separated by spaces.
      types: type of every key of the configuration, such as {"train.learning_rate": float}.

    Raises:
      InputError: the first entry that cannot be parsed, or whose key is unknown, cannot be searched or is repeated, or
        whose values have the wrong type or form an empty range.
    """
    space, at = [], 0
    while text[at:].strip():
        entry = _ENTRY.match(text, at)
        if entry is None:
            raise _fault(
                "an entry of the search space cannot be read",
                expected=f"<key>=<{'|'.join(KINDS)}>(<values>), separated by spaces, such as {EXAMPLE}",
                was=text[at:].strip(),
                remedy="correct the entry; on a command line, put the search space in quotes",
            )
        key, kind, inside = entry.groups()
        _check_key(key, types, before={dimension.key for dimension in space})
        values = [_parse_value(part.strip(), types[key], key=key) for part in inside.split(",")]
        space.append(_dimension(key, kind, values, whole=types[key] is int))
        at = entry.end()
    if not space:
        raise _fault("the search space is empty", expected=EXAMPLE, was=repr(text), remedy="name at least one key")
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
            "a sweep cannot search this key",
            expected="a key of model or train that affects the loss on the same records",
            was=f"{key}: {reason}",
            remedy=f"set --config.{key} for the whole sweep; use a separate --workdir for each value",
        )
    if key in before:
        raise _fault("a key is repeated", expected="one entry per key", was=key, remedy="remove one of them")


def _parse_value(text: str, wanted: type, *, key: str) -> Value:
    """Parse a value of the key's type: numbers as in Python, True or False, names without quotes."""
    value = text if wanted is str else _literal(text)
    if wanted is float and type(value) is int:
        value = float(value)
    beyond = isinstance(value, int | float) and not abs(value) <= LARGEST  # 1e999 is read as infinity
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
                "a choice needs at least two different values",
                key=key,
                expected="two or more values, each once",
                was=f"choice({','.join(map(str, values))})",
                remedy=f"add values, or remove the entry and set --config.{key}",
            )
        return Choice(key, tuple(values))
    was = f"{kind}({','.join(map(str, values))})"
    if kind not in KINDS:
        raise _fault("unknown kind of range", key=key, expected=f"one of {KINDS}", was=was, remedy="use one of these")
    numbers = [value for value in values if not isinstance(value, str | bool)]
    if len(numbers) < len(values):
        raise _fault(
            "a range needs numbers", key=key, expected="choice(a,b,...) for other values", was=was, remedy="use choice"
        )
    if len(numbers) != 2 or not numbers[0] < numbers[1] or (kind == "log" and numbers[0] <= 0):
        raise _fault(
            "the range is empty",
            key=key,
            expected="two numbers, the lower one first" + (", both above 0" if kind == "log" else ""),
            was=was,
            remedy=f"write {kind}(low,high)",
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
    """Return the values that a trial suggests, by key."""
    values = {}
    for part in space:
        if isinstance(part, Choice):
            values[part.key] = trial.suggest_categorical(part.key, part.values)
        elif part.whole:
            values[part.key] = trial.suggest_int(part.key, int(part.low), int(part.high), log=part.log)
        else:
            values[part.key] = trial.suggest_float(part.key, part.low, part.high, log=part.log)
    return values
