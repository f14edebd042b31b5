"""The one error that bad input ends in."""

import functools
from typing import Any


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
        super().__init__(
            f"{what}\n  where:    {where}\n  expected: {expected}\n  was:      {was}\n  remedy:   {remedy}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error come whole out of a worker process."""
        parts = {"where": self.where, "expected": self.expected, "was": self.was, "remedy": self.remedy}
        return functools.partial(InputError, **parts), (self.what,)


class TrainingError(RuntimeError):
    """Say what stopped a run that had begun, at which step, and what can be done."""

    def __init__(self, what: str, *, step: int, remedy: str):
        self.what, self.step, self.remedy = what, step, remedy
        super().__init__(f"{what}\n  step:     {step}\n  remedy:   {remedy}")
