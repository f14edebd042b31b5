"""Compile a program for an accelerator that is not here: kernels, matrix products, bytes, memory, an estimated time.

`python -m lob_jax.bench.compiled --device=h200 --program=train` compiles the training step of LOB-Base ahead of time
and prints what its kernels read, write and compute, the memory that it needs, and how long it would take at assumed
rates (`described.Rates`), with the slowest kernels. `--program=generate` does the same for the loop that generates
tokens: figures are of one iteration, a token of each path. Kernels, dtypes, bytes and memory are the compiler's own;
times are an estimate, and nothing is measured. Without a device the compiler cannot time alternatives (autotuning), so
that it takes its default kernels for products.

It needs the packages of the extra bench-gpu, in an environment of its own: where they are installed, every use of JAX
on a machine without a GPU prints an error. On the device itself, `python -m lob_jax.bench.train_step --size=base`
measures the same step.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from lob_jax.bench.compiled.described import DEVICES, compiling_for, set_environment
from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.errors import InputError

SIZES = ("tiny", "small", "base", "large", "modern")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
MASKS = ("none", "grammar", "book")
OF_TRAIN = ("size", "batch", "accumulation", "deterministic", "mask")  # models of any mask generate by one program
OF_GENERATE = ("paths", "context", "inputs")


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.compiled", description=__doc__)
    parser.add_argument("--device", choices=tuple(DEVICES), default="h200", help="the accelerator to compile for")
    parser.add_argument("--program", choices=("train", "generate"), default="train")
    parser.add_argument("--size", choices=SIZES, default="base", help="train: configuration in configs/")
    parser.add_argument("--layers", type=int, help="layers in place of the configuration's")
    parser.add_argument("--batch", type=int, help="train: windows of a micro-step, in place of the configuration's")
    parser.add_argument(
        "--accumulation", type=int, help="train: micro-steps of a step, in place of the configuration's"
    )
    parser.add_argument("--mask", choices=MASKS, help="train: mask in place of the configuration's")
    parser.add_argument("--deterministic", action="store_true", help="train: the same bits in every run")
    parser.add_argument("--paths", type=int, default=1, help="generate: paths at once")
    parser.add_argument("--context", type=int, default=1024, help="generate: longest context, in tokens")
    parser.add_argument("--inputs", action="store_true", help="generate: with all that configs/modern.py reads")
    parser.add_argument("--top", type=int, default=12, help="slowest kernels that are shown")
    parser.add_argument("--save", type=user_path, help="folder for the text of the compiled program")
    chosen = parser.parse_args(arguments)
    for name in OF_TRAIN if chosen.program == "generate" else OF_GENERATE:
        if getattr(chosen, name) != parser.get_default(name):
            parser.error(f"--{name} has no effect on --program={chosen.program}")
    given = (chosen.layers, chosen.batch, chosen.accumulation, chosen.paths, chosen.context)
    if min(number for number in given if number is not None) < 1 or chosen.top < 0:
        parser.error("numbers must be at least 1, and --top at least 0")
    return chosen


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Compile a program and return its figures as plain JSON, and its tables as lines under "lines".

    Raises:
      InputError: the compiler for the device is not installed.
    """
    # Only now: what these import reads the environment.
    from lob_jax.bench.compiled.estimate import part_of, plain, shares, slowest_table, table, total
    from lob_jax.bench.compiled.kernels import in_largest_loop, kernels_of
    from lob_jax.bench.compiled.program import read_program
    from lob_jax.bench.compiled.programs import PROGRAMS

    described = DEVICES[chosen.device]
    (device,) = described.devices()
    with compiling_for(described):
        program = PROGRAMS[chosen.program](device, chosen)
        began = time.perf_counter()
        compiled = program.lowered.compile()
    seconds, text = time.perf_counter() - began, compiled.as_text() or ""
    if chosen.save is not None:
        chosen.save.mkdir(parents=True, exist_ok=True)
        (chosen.save / f"{chosen.program}.hlo.txt").write_text(text, encoding="utf-8")
    memory: Any = compiled.memory_analysis()
    kernels, rates = kernels_of(read_program(text)), described.rates
    counted = kernels if chosen.program == "train" else in_largest_loop(kernels)
    parts = shares(counted, rates)
    whole = total(parts.values())
    estimated = {
        "ms": whole.seconds * 1e3,
        "mfu": program.flops / (whole.seconds * rates.peak),
        "tokens_per_s": program.tokens / whole.seconds,
    }
    sizes = {
        "arguments": memory.argument_size_in_bytes,
        "temporary": memory.temp_size_in_bytes,
        "aliased": memory.alias_size_in_bytes,
    }
    what = "a step" if chosen.program == "train" else "a token of each path"
    lines = [
        f"{chosen.program} for {described.kind}: {program.model.n_layers} x {program.model.d_model}, "
        f"{program.model.dtype}, {program.tokens:,} tokens; compiled in {seconds:.0f} s",
        "memory, MiB: " + ", ".join(f"{name} {size / 2**20:,.0f}" for name, size in sizes.items()),
        f"of {what}:",
        *table(parts),
        *table(shares(counted, rates, by=part_of)),
        *slowest_table(counted, rates, chosen.top),
        f"estimated {estimated['ms']:.2f} ms, {estimated['tokens_per_s']:,.0f} tokens/s, MFU {estimated['mfu']:.1%}; "
        f"assumed: {rates.told()}",
    ]
    return {
        "lines": lines,
        "device": described.kind,
        "program": chosen.program,
        "layers": program.model.n_layers,
        "tokens": program.tokens,
        "compile_s": seconds,
        "memory_bytes": sizes,
        "kernels": plain(parts),
        "launches": whole.kernels,
        "full_precision_products": sum(one.times for one in counted if one.kind == "product" and one.operand == "f32"),
        "estimate": estimated,
        "rates": rates.told(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print tables, then one JSON object; return the exit status, 1 without a compiler for the device."""
    chosen = parsed(arguments)
    set_environment()
    try:
        figures = run(chosen)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(figures.pop("lines")))
    print(json.dumps({**figures, **surroundings("compiled", packages=PACKAGES, used="all used")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
