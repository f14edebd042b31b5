"""Measure how long it takes to score generated flow against real flow.

`python -m lob_jax.bench.fidelity --path MESSAGE_FILE` cuts a LOBSTER day, whose order-book file is found next to the
message file, into sequences and scores every second one against the others; without a path it uses a simulated day. The
first run of each stage compiles, then come `--repeat` runs, of which the median counts.
"""

import argparse
import functools
import json
import pathlib
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.bench.tokenize import reader
from lob_jax.evaluation.fidelity.compare import compare
from lob_jax.evaluation.fidelity.distances.comparison import METRICS, Compared, compared
from lob_jax.evaluation.fidelity.samples import measure
from lob_jax.evaluation.fidelity.score import all_scores
from lob_jax.statistics.flow import Flow, disjoint_spans, flow_of_spans

RESAMPLES = 100
SPLITS = 50


def timed(run: Callable[[], Any], repeat: int) -> tuple[Any, dict[str, float]]:
    """Run once to compile, then `repeat` times.

    Returns:
      The result, and seconds: of the first call, the median, and the median of processor time, which other programs on
      the machine do not lengthen.
    """
    wall, processor = [], []
    for _ in range(repeat + 1):
        begin, spent = time.perf_counter(), time.process_time()
        result = run()
        wall.append(time.perf_counter() - begin)
        processor.append(time.process_time() - spent)
    return result, {
        "first_call": wall[0],
        "median": statistics.median(wall[1:]),
        "processor": statistics.median(processor[1:]),
    }


def two_flows(path: pathlib.Path | None, *, sequences: int, length: int) -> tuple[Flow, Flow]:
    """Return alternating sequences of a day as two flows of at most `sequences` each.

    Args:
      path: a LOBSTER message file; None for a simulated day.
      sequences: sequences per flow.
      length: messages per sequence.
    """
    day = reader(path, round(2.2 * sequences * length))()
    flow = flow_of_spans(day, disjoint_spans(len(day.events), length=length)[: 2 * sequences], levels=10)
    each = len(flow) // 2
    return flow.select(np.arange(each) * 2), flow.select(np.arange(each) * 2 + 1)


def score(real: Flow, generated: Flow, *, resamples: int) -> dict[str, Compared]:
    """Return LOB-Bench's 21 scores: all three distances, with resamples for both intervals."""
    return {
        rule.name: compared(rule, measure(rule, real), measure(rule, generated), resamples=resamples, seed=0)
        for rule in all_scores("lob_bench")
    }


def stages(real: Flow, generated: Flow) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name.

    `scores` are LOB-Bench's 21 scores; `bootstrap` adds resamples of sequences and of values; `compare` is all that
    `lob_jax.compare_flows` does: further and conditional scores, halves, blocks and measures.
    """
    return {
        "scores": functools.partial(score, real, generated, resamples=0),
        "bootstrap": functools.partial(score, real, generated, resamples=RESAMPLES),
        "compare": functools.partial(compare, real, {"half": generated}, splits=SPLITS, resamples=RESAMPLES),
    }


def run(path: pathlib.Path | None, *, sequences: int, length: int, repeat: int) -> dict[str, Any]:
    """Measure every stage; return the results as JSON-serialisable values.

    Args:
      path: a LOBSTER message file; None for a simulated day.
      sequences, length: see `two_flows`.
      repeat: timed runs per stage.
    """
    real, generated = two_flows(path, sequences=sequences, length=length)
    results, seconds = {}, {}
    for name, stage in stages(real, generated).items():
        results[name], seconds[name] = timed(stage, repeat)
    mean = np.mean([one.value for one in results["scores"].values()], axis=0).tolist()
    return {
        "benchmark": "fidelity",
        "day": path.name if path else "synthetic",
        "sequences": [len(real), len(generated)],
        "messages_per_sequence": length,
        "mean": dict(zip(METRICS, mean, strict=True)),
        "seconds": seconds,
        "repeat": repeat,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **surroundings("fidelity"),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.fidelity", description=__doc__)
    parser.add_argument("--path", type=user_path, help="a LOBSTER message file; a simulated day if absent")
    parser.add_argument("--sequences", type=int, default=139, help="sequences of each flow, at most")
    parser.add_argument("--length", type=int, default=500, help="messages per sequence")
    parser.add_argument("--repeat", type=int, default=3, help="timed runs per stage")
    chosen = parser.parse_args(arguments)
    if min(chosen.repeat, chosen.sequences, chosen.length) < 1:
        parser.error("--repeat, --sequences and --length must be at least 1")
    figures = run(chosen.path, sequences=chosen.sequences, length=chosen.length, repeat=chosen.repeat)
    real, generated = figures["sequences"]
    print(f"{figures['day']}: {real} v {generated} sequences of {figures['messages_per_sequence']} messages")
    for name, seconds in figures["seconds"].items():
        shown = (f"{key.replace('_', ' ')} {value:.3f} s" for key, value in seconds.items())
        print(f"  {name:10s} {', '.join(shown)}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
