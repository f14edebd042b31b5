"""The one error that bad input ends in."""

import functools
from collections.abc import Mapping
from typing import Any

ABSENT = object()
LONG = 160  # letters of a value
LONGEST_LINE = 1000  # letters of a line of what was found


class InputError(ValueError):
    """Say what is wrong with an input, where, and what would mend it.

    Attributes:
      what: the fault, as a short sentence without a full stop.
      where: the file, line, column, config key or event at fault.
      expected: what would have been right.
      was: what was found.
      remedy: what the reader can do about it.
    """

    def __init__(self, what: str, *, where: object, expected: object, was: object, remedy: str):
        self.what, self.where, self.expected, self.was, self.remedy = what, where, expected, was, remedy
        told = {"where": where, "expected": expected, "was": _shortened(was), "remedy": remedy}
        super().__init__("\n".join([what, *(f"  {name + ':':<9} {_indented(part)}" for name, part in told.items())]))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error come whole out of a worker process."""
        parts = {"where": self.where, "expected": self.expected, "was": self.was, "remedy": self.remedy}
        return functools.partial(InputError, **parts), (self.what,)


class TrainingError(RuntimeError):
    """Say what stopped a run that had begun, at which step, and what can be done."""

    def __init__(self, what: str, *, step: int, remedy: str):
        self.what, self.step, self.remedy = what, step, remedy
        super().__init__(f"{what}\n  step:     {step}\n  remedy:   {remedy}")


def _shortened(part: object) -> str:
    """Return what was found, lines beyond all reading cut, nothing but blanks in quotes."""
    text = str(part)
    lines = (text if text.strip() else repr(text)).split("\n")
    return "\n".join(
        f"{line[:LONGEST_LINE]}... ({len(line):,} letters)" if len(line) > LONGEST_LINE else line for line in lines
    )


def _indented(part: object) -> str:
    """Return a part of a message, its further lines under its first."""
    return "\n".join(f"{' ' * 12}{line}" if place else line for place, line in enumerate(str(part).split("\n")))


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str]:
    """Return what two nested mappings do not share: a line a key, as it is in the one and in the other.

    Both are empty where the mappings are equal.
    """
    ones, others = flat(one), flat(other)
    keys = [key for key in {**ones, **others} if ones.get(key, ABSENT) != others.get(key, ABSENT)]
    pairs = [(key, ones.get(key, ABSENT), others.get(key, ABSENT)) for key in keys]
    return (
        "\n".join(_line(key, one, beside=other) for key, one, other in pairs),
        "\n".join(_line(key, other, beside=one) for key, one, other in pairs),
    )


def _line(key: str, value: object, *, beside: object) -> str:
    """Return a key and its value; of a long list, what another one does not have."""
    if value is ABSENT:
        return f"{key}: absent"
    text = repr(value)
    if len(text) > LONG and isinstance(value, list) and isinstance(beside, list):
        text = f"{len(value)} values, with {[one for one in value if one not in beside]}"
    return f"{key} = {text if len(text) <= LONG else f'{text[:LONG]}...'}"


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by their paths, such as "attention.kind"."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
