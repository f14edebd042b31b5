"""Measure time and memory of each kind of attention against sequence length, forward and forward plus backward.

`python -m lob_jax.bench.attention` runs a single attention layer on given queries, keys and values, without its
projections. Memory is what XLA allocates for temporary arrays. A kind is measured up to the first length at which its
T x T products would exceed `--most-gib`, or until a call takes longer than `--most-seconds`.
"""

import argparse
import dataclasses
import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from lob_jax.bench.surroundings import surroundings
from lob_jax.config.sections import model_config
from lob_jax.configs import base
from lob_jax.errors import InputError
from lob_jax.models.apply import apply
from lob_jax.models.attention.kind import KINDS
from lob_jax.models.attention.positions import Positions
from lob_jax.models.config import ModelConfig

PACKAGES = ("jax", "jaxlib", "flax", "numpy")
LENGTHS = (512, 1024, 2048, 4096, 8192, 16_384, 32_768)
GOAL = 2.3  # most that a sub-quadratic kind may grow by a doubling
MIB, GIB = 2**20, 2**30


@dataclasses.dataclass(frozen=True)
class Point:
    """One kind at one length.

    Attributes:
      forward_s: median seconds of a forward pass.
      both_s: median seconds of a forward and a backward pass.
      forward_bytes: temporary memory of the forward pass.
      both_bytes: temporary memory of the forward and backward pass.
      compile_s: seconds to compile both programs.
    """

    forward_s: float
    both_s: float
    forward_bytes: int
    both_bytes: int
    compile_s: float


def setting(kind: str, length: int, chosen: argparse.Namespace) -> ModelConfig:
    """Return the configuration of a model with one kind of attention."""
    plain = model_config(base.get_config())
    attention = dataclasses.replace(plain.attention, kind=kind, backend=chosen.backend)
    shape = {"n_heads": chosen.heads, "d_model": chosen.heads * chosen.head_size, "dtype": chosen.dtype}
    return dataclasses.replace(plain, attention=attention, max_seq_length=length, **shape)


def inputs(config: ModelConfig, batch: int) -> tuple:
    """Return random queries, keys and values, and positions: four tokens per event, an event every 0.1 s."""
    T, shape = config.max_seq_length, (batch, config.max_seq_length, config.n_heads, config.head_width)
    arrays = [jax.random.normal(jax.random.key(seed), shape, config.dtype) for seed in range(3)]
    event = np.arange(T) // 4
    clock = np.stack(np.divmod(event * 100_000_000, 10**9), axis=-1)
    whole = {"position_BT": np.arange(T), "event_BT": event, "clock_BT2": clock}
    positions = Positions(**{name: jnp.asarray(np.stack([x] * batch), jnp.int32) for name, x in whole.items()})
    return *arrays, positions


def measure(kind: str, length: int, chosen: argparse.Namespace) -> Point:
    """Compile and time one kind at one length."""
    config = setting(kind, length, chosen)
    module, data = KINDS[kind].module(config), inputs(config, chosen.batch)
    variables = jax.jit(module.init)(jax.random.key(0), *data)

    def forward(variables: Any, query: jax.Array, key: jax.Array, value: jax.Array, positions: Positions) -> jax.Array:
        return apply(module, variables, query, key, value, positions)

    def total(variables: Any, query: jax.Array, key: jax.Array, value: jax.Array, positions: Positions) -> jax.Array:
        # Weighted by the queries: the gradient of a plain sum is all ones, which a compiler may exploit.
        return (forward(variables, query, key, value, positions) * query).astype(jnp.float32).sum()

    start = time.perf_counter()
    programs = [
        jax.jit(function).lower(variables, *data).compile() for function in (forward, jax.grad(total, (0, 1, 2, 3)))
    ]
    compile_s = time.perf_counter() - start
    forward_s, both_s = (median_seconds(lambda run=run: run(variables, *data), chosen.repeats) for run in programs)
    forward_bytes, both_bytes = (temporary_bytes(run) for run in programs)
    return Point(forward_s, both_s, forward_bytes, both_bytes, compile_s=compile_s)


def temporary_bytes(program: jax.stages.Compiled) -> int:
    """Return the temporary memory of a compiled program."""
    return cast(Any, program.memory_analysis()).temp_size_in_bytes  # None only for a backend without such figures


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a call in seconds, after one warm-up call."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def is_quadratic(kind: str) -> bool:
    """Return whether a kind holds the T x T products."""
    return KINDS[kind].keys_a_query is None


def quadratic_bytes(kind: str, length: int, chosen: argparse.Namespace) -> int:
    """Return about what the T x T products of a kind take on the way back, scores, weights and their gradients."""
    return 4 * 4 * chosen.batch * chosen.heads * length**2 if is_quadratic(kind) else 0


def survey(chosen: argparse.Namespace) -> dict[str, dict[int, Point]]:
    """Measure every kind at every length within the limits on time and memory."""
    found: dict[str, dict[int, Point]] = {}
    for kind in chosen.kinds:
        found[kind] = {}
        for length in chosen.lengths:
            before = list(found[kind].values())
            if before and before[-1].both_s > chosen.most_seconds:
                break
            if quadratic_bytes(kind, length, chosen) > chosen.most_gib * GIB:
                break
            found[kind][length] = measure(kind, length, chosen)
    return found


def growth(points: dict[int, Point], field: str) -> list[float]:
    """Return the factor by which a figure grows from each length to the next."""
    values = [getattr(point, field) for point in points.values()]
    return [after / max(before, 1e-12) for before, after in itertools.pairwise(values)]


def table(found: dict[str, dict[int, Point]], field: str, title: str, scale: float, form: str) -> Table:
    """Return a rich table of one figure: one row per kind, one column per length, each value with its growth.

    Args:
      found: points by kind and length.
      field: name of the attribute of `Point` to show.
      title: title of the table.
      scale: divisor of the values.
      form: format specification of the values.
    """
    lengths = sorted({length for points in found.values() for length in points})
    shown = Table(title=title)
    shown.add_column("")
    for length in lengths:
        shown.add_column(f"{length:,}", justify="right")
    for kind, points in found.items():
        factors = ["", *(f"x{factor:.2f}" for factor in growth(points, field))]
        cells = [
            f"{getattr(point, field) / scale:{form}}\n{factor}"
            for point, factor in zip(points.values(), factors, strict=True)
        ]
        shown.add_row(kind, *cells, *[""] * (len(lengths) - len(cells)))
    return shown


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line.

    Raises:
      InputError: a kind is unknown, or the lengths do not increase.
    """
    on_cpu = jax.default_backend() == "cpu"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--dtype", default="float32" if on_cpu else "bfloat16")
    parser.add_argument("--backend", default="auto", help="backend of full attention: auto, xla, cudnn or splash")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most-gib", type=float, default=4.0)
    parser.add_argument("--most-seconds", type=float, default=20.0)
    chosen = parser.parse_args(arguments)
    unknown = [kind for kind in chosen.kinds if kind not in KINDS]
    growing = all(one < other for one, other in itertools.pairwise(chosen.lengths))
    if unknown or not growing:
        raise InputError(
            "there is no such kind of attention" if unknown else "the lengths do not increase",
            where="--kinds" if unknown else "--lengths",
            expected=list(KINDS) if unknown else "each longer than the previous one",
            was=unknown or chosen.lengths,
            remedy="choose from the expected kinds" if unknown else "list the lengths in ascending order",
        )
    return chosen


def main(arguments: Sequence[str] | None = None) -> None:
    """Print tables of time and memory, then one JSON object."""
    chosen, console = parsed(arguments), Console(width=110)
    found = survey(chosen)
    shape = f"{chosen.batch} x {chosen.heads} heads of {chosen.head_size}, {chosen.dtype}, {jax.default_backend()}"
    for field, title, scale, form in (
        ("forward_s", f"forward, ms, median of {chosen.repeats}: {shape}", 1e-3, ",.1f"),
        ("both_s", f"forward and backward, ms: {shape}", 1e-3, ",.1f"),
        ("forward_bytes", "forward, temporary MiB", MIB, ",.1f"),
        ("both_bytes", "forward and backward, temporary MiB", MIB, ",.1f"),
    ):
        console.print(table(found, field, title, scale, form))
    fields = ("forward_s", "both_s", "forward_bytes", "both_bytes")
    worst = {
        kind: {field: max(growth(points, field), default=None) for field in fields}
        for kind, points in found.items()
        if not is_quadratic(kind)
    }
    console.print(f"largest growth when the length doubles (goal: at most {GOAL}):")
    for kind, factors in worst.items():
        console.print(f"  {kind}: " + ", ".join(f"{field} x{factor or 0:.2f}" for field, factor in factors.items()))
    figures = {
        "benchmark": "attention",
        "setting": {name: value for name, value in vars(chosen).items()},
        "points": {
            kind: {str(length): dataclasses.asdict(point) for length, point in points.items()}
            for kind, points in found.items()
        },
        "largest_growth": worst,
        **surroundings("attention", packages=PACKAGES, used="all used"),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
