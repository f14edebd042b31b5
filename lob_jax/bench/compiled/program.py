"""Read an optimised program of XLA from its text: computations, and their instructions with operands and results."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

BITS = {
    "pred": 8,
    **{f"{kind}{bits}": bits for kind in "su" for bits in (4, 8, 16, 32, 64)},
    **{f"f{bits}": bits for bits in (16, 32, 64)},
    **{"bf16": 16, "c64": 64, "c128": 128, "f8e4m3fn": 8, "f8e5m2": 8},
}
_ARRAY = re.compile(r"\b(" + "|".join(sorted(BITS, key=len, reverse=True)) + r")\[([\d,]*)\]")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_NAME = re.compile(r"%([\w.\-]+)")


class Array(NamedTuple):
    """An array in a program."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Return the number of its elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Return its size in bytes."""
        return self.size * BITS[self.dtype] // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """An instruction of a computation.

    Attributes:
      name: its name, which is unique in the program.
      opcode: what it does, in the words of HLO.
      results: the arrays that it returns.
      operands: names of the instructions whose results it takes.
      literal: what stands in their place, such as the number of a parameter.
      attributes: the rest of its line.
      root: whether its results are those of the computation.
    """

    name: str
    opcode: str
    results: tuple[Array, ...]
    operands: tuple[str, ...]
    literal: str
    attributes: str
    root: bool

    @property
    def result_bytes(self) -> int:
        """Return the bytes of all results."""
        return sum(one.bytes for one in self.results)

    @property
    def target(self) -> str:
        """Return the library function that a custom call is of; empty for others."""
        found = re.search(r'custom_call_target="([^"]+)"', self.attributes)
        return found[1] if found else ""

    @property
    def scope(self) -> str:
        """Return the place in the source model that it comes from."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""

    def called(self, attribute: str) -> list[str]:
        """Return the computations that an attribute such as "calls" or "body" names."""
        found = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.attributes)
        return [] if found is None else re.findall(r"[\w.\-]+", found[1])

    def dimensions(self, attribute: str) -> list[int] | None:
        """Return numbers such as those of "lhs_contracting_dims={1}"; None if there are none."""
        found = re.search(rf'"?{attribute}"?[=:][\[{{]([\d",]*)[\]}}]', self.attributes)
        return None if found is None else [int(number) for number in re.findall(r"\d+", found[1])]


Computation = Mapping[str, Instruction]


class Program(NamedTuple):
    """A program.

    Attributes:
      computations: instructions by name, in order, by name of their computation.
      entry: name of the computation that runs.
    """

    computations: Mapping[str, Computation]
    entry: str


def read_program(text: str) -> Program:
    """Return a program from the text that `jax.stages.Compiled.as_text` gives.

    Raises:
      ValueError: there is no entry computation.
    """
    computations: dict[str, dict[str, Instruction]] = {}
    current: dict[str, Instruction] | None = None
    entry = None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head is not None:
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
            continue
        found = _INSTRUCTION.match(line)
        if found is not None and current is not None:
            operands, attributes = _split(found[5])
            current[found[2]] = Instruction(
                name=found[2],
                opcode=found[4],
                results=_arrays(found[3]),
                operands=tuple(_NAME.findall(operands)),
                literal=operands,
                attributes=attributes,
                root=found[1] is not None,
            )
    if entry is None:
        raise ValueError("no entry computation in the text of the program")
    return Program(computations, entry)


def _split(rest: str) -> tuple[str, str]:
    """Split what follows an opening parenthesis at the one that closes it: operands, and attributes."""
    depth = 1
    for at, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return rest[:at], rest[at + 1 :]
    return rest, ""


def _arrays(text: str) -> tuple[Array, ...]:
    return tuple(
        Array(dtype, tuple(int(one) for one in shape.split(",") if one)) for dtype, shape in _ARRAY.findall(text)
    )


def root_of(computation: Computation) -> Instruction:
    """Return the instruction whose results are those of a computation."""
    return next(one for one in computation.values() if one.root)
