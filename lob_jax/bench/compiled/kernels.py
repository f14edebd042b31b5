"""The kernels of a program, with what each one reads, writes and computes, and how often it runs."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator, Sequence

from lob_jax.bench.compiled.program import Computation, Instruction, Program, root_of

# They launch nothing: they name arrays, or contain instructions.
SILENT = frozenset(
    ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id")
)
DONE = ("copy-done", "async-done", "all-reduce-done", "all-gather-done")
SLICES = frozenset(("dynamic-slice", "slice", "gather"))
ATTENTION, BACKWARD = "fmha", "Backward"
PRODUCTS = ("__cublas", "__onednn$matmul")
# Of the instructions that a random number consists of. A rotation is three of them and one operation of the device.
INTEGER = {"add": 1.0, "xor": 1.0, "and": 1.0, "multiply": 1.0, "subtract": 1.0}
INTEGER |= {"shift-left": 0.5, "shift-right-logical": 0.5}
RANDOM = 4  # integer operations for each byte that it moves, from which a kernel counts as drawing random numbers


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel.

    Attributes:
      name: its name in the program.
      kind: product, attention, random, copy, or elementwise and reductions.
      times: how often it runs, in loops whose length the compiler knows.
      loop: the loop of unknown length that it runs in, once per iteration; empty for none.
      read: bytes that it reads, if nothing is cached.
      written: bytes that it writes.
      flops: floating-point operations of products and attention.
      operand: dtype of a product's operands; empty for others.
      integers: operations on 32-bit integers.
      scope: the place in the source model.
    """

    name: str
    kind: str
    times: int
    loop: str
    read: int
    written: int
    flops: float
    operand: str
    integers: float
    scope: str


def kernels_of(program: Program) -> list[Kernel]:
    """Return the kernels that a program launches, in order."""
    return list(_kernels(program, program.entry, times=1, loop=""))


def in_largest_loop(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Return the kernels of one iteration of the loop of unknown length that has most of them; none without a loop."""
    loops = collections.Counter(one.loop for one in kernels if one.loop)
    return [one for one in kernels if loops and one.loop == loops.most_common(1)[0][0]]


def _kernels(program: Program, name: str, *, times: int, loop: str) -> Iterator[Kernel]:
    computation = program.computations[name]
    for one in computation.values():
        if one.opcode in SILENT or one.opcode in DONE:
            continue
        if one.opcode == "while":
            count = _trip_count(one)
            inside = (times, one.name) if count is None else (times * count, loop)
            yield from _kernels(program, one.called("body")[0], times=inside[0], loop=inside[1])
        elif one.opcode in ("call", "conditional", "async-start"):
            names = ("to_apply", "branch_computations", "true_computation", "false_computation", "calls")
            for called in (called for attribute in names for called in one.called(attribute)):
                yield from _kernels(program, called, times=times, loop=loop)
        else:
            yield _kernel(program, computation, one, times=times, loop=loop)


def _trip_count(one: Instruction) -> int | None:
    found = re.search(r"known_trip_count\W+n\W+(\d+)", one.attributes)
    return None if found is None else int(found[1])


def _kernel(program: Program, computation: Computation, one: Instruction, *, times: int, loop: str) -> Kernel:
    body = program.computations[called[0]] if one.opcode == "fusion" and (called := one.called("calls")) else None
    read, written = _traffic(computation, one, body)
    flops, operand = _products(computation, one, body)
    integers = 0.0 if body is None else sum(_integers(inner) for inner in body.values())
    attention = _attention(computation, one)
    if attention:
        kind = "attention"
    elif flops:
        kind = "product"
    elif integers > RANDOM * (read + written):
        kind = "random"
    else:
        kind = "copy" if one.opcode in ("copy", "copy-start") else "elementwise"
    return Kernel(
        name=one.name,
        kind=kind,
        times=times,
        loop=loop,
        read=read,
        written=written,
        flops=flops + attention,
        operand=operand,
        integers=integers,
        scope=one.scope,
    )


def _traffic(computation: Computation, one: Instruction, body: Computation | None) -> tuple[int, int]:
    """Return the bytes read and written; of an array that is only sliced or updated in place, those of the slice."""
    sizes = [computation[name].result_bytes if name in computation else 0 for name in one.operands]
    if body is None:
        if one.opcode == "dynamic-update-slice":
            return sizes[1], sizes[1]
        return (one.result_bytes if one.opcode in SLICES else sum(sizes)), one.result_bytes
    users = collections.defaultdict(list)
    for inner in body.values():
        for name in inner.operands:
            users[name].append(inner)
    parameters = {int(inner.literal): name for name, inner in body.items() if inner.opcode == "parameter"}
    read = sum(_read(parameters[number], users, size) for number, size in enumerate(sizes) if number in parameters)
    root = root_of(body)
    results = [body[name] for name in root.operands] if root.opcode == "tuple" else [root]
    return read, sum(_written(result, body) for result in results)


def _read(name: str, users: dict[str, list[Instruction]], size: int) -> int:
    """Return the bytes that a fused computation reads of a parameter."""
    found = 0
    for user in users[name]:
        if user.opcode == "bitcast":
            found += _read(user.name, users, size)
        elif user.opcode in SLICES and user.operands[0] == name:
            found += user.result_bytes
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
            continue
        else:
            return size
    return min(found, size)


def _written(result: Instruction, body: Computation) -> int:
    while result.opcode == "bitcast":
        result = body[result.operands[0]]
    if result.opcode == "dynamic-update-slice":
        return body[result.operands[1]].result_bytes
    return result.result_bytes


def _products(computation: Computation, one: Instruction, body: Computation | None) -> tuple[float, str]:
    """Return the operations of the matrix products in a kernel, and the dtype of their operands."""
    if body is None:
        product = one.opcode in ("dot", "convolution") or one.target.startswith(PRODUCTS)
        return _product(computation, one) if product else (0.0, "")
    found = [_product(body, inner) for inner in body.values() if inner.opcode in ("dot", "convolution")]
    return sum(flops for flops, _ in found), found[0][1] if found else ""


def _product(computation: Computation, one: Instruction) -> tuple[float, str]:
    left = computation[one.operands[0]].results[0]
    if one.opcode == "convolution":  # as a TPU's compiler writes a product, with windows that say nothing of its size
        right, result = computation[one.operands[1]].results[0], one.results[0]
        return 2.0 * math.sqrt(left.size * right.size * result.size), left.dtype  # sqrt(MK x KN x MN)
    over = one.dimensions("lhs_contracting_dims")
    over = one.dimensions("lhs_contracting_dimensions") if over is None else over
    return 2.0 * one.results[0].size * math.prod(left.shape[axis] for axis in over or []), left.dtype


def _attention(computation: Computation, one: Instruction) -> float:
    """Return the operations of cuDNN's causal attention: two products of half of T x T scores, backward five."""
    if ATTENTION not in one.target:
        return 0.0
    query = computation[one.operands[0]].results[0]
    length = max(query.shape[1:3])  # [B, T, N, H] or [B, N, T, H]
    return (5.0 if BACKWARD in one.target else 2.0) * query.size * length


def _integers(inner: Instruction) -> float:
    of_words = bool(inner.results) and inner.results[0].dtype == "u32"
    return INTEGER.get(inner.opcode, 0.0) * inner.results[0].size if of_words else 0.0
