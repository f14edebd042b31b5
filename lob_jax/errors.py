"""The errors that users are meant to see: invalid input, and training that has to stop."""

import functools
from collections.abc import Mapping
from typing import Any

ABSENT = object()
LONG = 160  # maximum characters of a value
LONGEST_LINE = 1000  # maximum characters of a line of `was`


class InputError(ValueError):
    """Raised for invalid input: what is wrong, where, and how to fix it.

    Attributes:
      what: the problem, as a short sentence without a full stop.
      where: the file, line, column, config key or event with the problem.
      expected: what would have been valid.
      was: what was found.
      remedy: what the reader can do about it.
    """

    def __init__(self, what: str, *, where: object, expected: object, was: object, remedy: str):
        self.what, self.where, self.expected, self.was, self.remedy = what, where, expected, was, remedy
        parts = {"where": where, "expected": expected, "was": _shortened(was), "remedy": remedy}
        super().__init__("\n".join([what, *(f"  {name + ':':<9} {_indented(part)}" for name, part in parts.items())]))

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling, so that a worker process passes the complete error to its parent."""
        parts = {"where": self.where, "expected": self.expected, "was": self.was, "remedy": self.remedy}
        return functools.partial(InputError, **parts), (self.what,)


class TrainingError(RuntimeError):
    """Raised when training has to stop: why, at which step, and what to do."""

    def __init__(self, what: str, *, step: int, remedy: str):
        self.what, self.step, self.remedy = what, step, remedy
        super().__init__(f"{what}\n  step:     {step}\n  remedy:   {remedy}")


def _shortened(part: object) -> str:
    """Return a value as text, with overlong lines truncated; text of whitespace only is quoted."""
    text = str(part)
    lines = (text if text.strip() else repr(text)).split("\n")
    return "\n".join(
        f"{line[:LONGEST_LINE]}... ({len(line):,} characters)" if len(line) > LONGEST_LINE else line for line in lines
    )


def _indented(part: object) -> str:
    """Return a part of a message, with all lines aligned under the first."""
    return "\n".join(f"{' ' * 12}{line}" if place else line for place, line in enumerate(str(part).split("\n")))


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str]:
    """Return the differences of two nested mappings: one line per differing key, once for each mapping.

    Both texts are empty if the mappings are equal.
    """
    ones, others = flat(one), flat(other)
    keys = [key for key in {**ones, **others} if ones.get(key, ABSENT) != others.get(key, ABSENT)]
    pairs = [(key, ones.get(key, ABSENT), others.get(key, ABSENT)) for key in keys]
    return (
        "\n".join(_line(key, one, beside=other) for key, one, other in pairs),
        "\n".join(_line(key, other, beside=one) for key, one, other in pairs),
    )


def _line(key: str, value: object, *, beside: object) -> str:
    """Return a key and its value; for a long list, only the values that the other list lacks."""
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
