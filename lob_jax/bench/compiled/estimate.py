"""A roofline estimate of a program: how long its kernels take, if each is limited by the slowest of its resources.

Nothing here is measured. Kernels, dtypes, bytes and operations are those of the compiled program; rates are assumed,
see `described.Rates`. Caches are left out, as are gaps between kernels and overlap of one with the next.
"""

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from lob_jax.bench.compiled.described import Rates
from lob_jax.bench.compiled.kernels import Kernel

FULL = ("f32", "f64")


class Share(NamedTuple):
    """What kernels of a kind take together.

    Attributes:
      kernels: their launches.
      seconds: estimated time.
      bytes: bytes read and written.
      flops: floating-point operations of products and attention.
    """

    kernels: int
    seconds: float
    bytes: int
    flops: float


def seconds_of(kernel: Kernel, rates: Rates) -> float:
    """Return the estimated time of one run of a kernel."""
    rate = rates.attention if kernel.kind == "attention" else rates.fulls if kernel.operand in FULL else rates.halves
    return max(
        kernel.flops / rate,
        (kernel.read + kernel.written) / rates.memory,
        kernel.integers / rates.integers,
        rates.kernel_s,
    )


def label_of(kernel: Kernel) -> str:
    """Return the kind of a kernel, with the dtype of operands if it is a product."""
    return f"product, {kernel.operand}" if kernel.kind == "product" else kernel.kind


def part_of(kernel: Kernel) -> str:
    """Return the part of the program that a kernel comes from."""
    if "/blocks" in kernel.scope:
        return "in blocks"
    return "embeddings and head" if "LOBTransformer" in kernel.scope else "outside of the model"


def shares(kernels: Iterable[Kernel], rates: Rates, *, by: Callable[[Kernel], str] = label_of) -> dict[str, Share]:
    """Return what groups of kernels take, by kind unless another function groups them, the slowest first."""
    found: dict[str, Share] = collections.defaultdict(lambda: Share(0, 0.0, 0, 0.0))
    for one in kernels:
        so_far, times = found[by(one)], one.times
        found[by(one)] = Share(
            kernels=so_far.kernels + times,
            seconds=so_far.seconds + times * seconds_of(one, rates),
            bytes=so_far.bytes + times * (one.read + one.written),
            flops=so_far.flops + times * one.flops,
        )
    return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


def total(parts: Iterable[Share]) -> Share:
    """Return the sum of shares."""
    columns = list(zip(*parts, strict=True))
    return Share(*(sum(column) for column in columns)) if columns else Share(0, 0.0, 0, 0.0)


def slowest(kernels: Sequence[Kernel], rates: Rates, count: int) -> list[Kernel]:
    """Return the kernels that take most of the time, all their runs together."""
    return sorted(kernels, key=lambda one: -one.times * seconds_of(one, rates))[:count]


def table(parts: dict[str, Share]) -> list[str]:
    """Return shares and their sum as lines of text."""
    lines = [f"{'kernels':<24}{'launches':>10}{'ms':>10}{'share':>8}{'GB':>10}{'Tflop':>10}"]
    whole = total(parts.values())
    for name, one in [*parts.items(), ("all", whole)]:
        share = one.seconds / whole.seconds if whole.seconds else 0.0
        lines.append(
            f"{name:<24}{one.kernels:>10,}{one.seconds * 1e3:>10.3f}{share:>8.1%}{one.bytes / 1e9:>10.2f}"
            f"{one.flops / 1e12:>10.3f}"
        )
    return lines


def slowest_table(kernels: Sequence[Kernel], rates: Rates, count: int) -> list[str]:
    """Return the slowest kernels as lines of text."""
    lines = [f"{'slowest':<24}{'launches':>10}{'ms':>10}{'GB':>10}{'Tflop':>10}  where"]
    for one in slowest(kernels, rates, count):
        moved, milliseconds = one.times * (one.read + one.written), one.times * seconds_of(one, rates) * 1e3
        where = "/".join(one.scope.split("/")[-4:])
        lines.append(
            f"{label_of(one):<24}{one.times:>10,}{milliseconds:>10.3f}{moved / 1e9:>10.2f}"
            f"{one.times * one.flops / 1e12:>10.3f}  {where or one.name}"
        )
    return lines


def plain(parts: dict[str, Share]) -> dict[str, Any]:
    """Return shares as plain JSON."""
    return {name: one._asdict() for name, one in parts.items()}
