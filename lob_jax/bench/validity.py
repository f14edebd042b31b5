"""Generate many events from untrained and trained models, with each kind of tokens, and check the validity of each.

`python -m lob_jax.bench.validity --events=1000000` prints a table, then one JSON object. Each path is decoded on the
host and replayed in plain Python, independently of the masks (`lob_jax.evaluation.paths.validity`); at its end the
device's book must equal the replayed one.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lob_jax.bench.surroundings import surroundings
from lob_jax.bench.trained import Trained, trained
from lob_jax.configs import compact, tiny
from lob_jax.evaluation.paths.validity import merged
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import path_day
from lob_jax.generation.settings import SamplingConfig
from lob_jax.models.transformer import initial_parameters
from lob_jax.runs.generation import check_day

PACKAGES = ("jax", "jaxlib", "flax", "numpy")
EVENTS = 1_000_000  # events of all runs together
PATHS = 128  # maximum number of paths generated at once
STEPS = 150  # training steps
PROMPT = 50  # events
CONFIGS = {"exact": tiny.get_config, "ranks": tiny.get_config, "compact": functools.partial(compact.get_config, "tiny")}


@dataclasses.dataclass(frozen=True)
class Checked:
    """The results of one run.

    Attributes:
      tokens: "exact", "ranks" (exact ones that say which order a removal takes) or "compact".
      model: "untrained" or "trained".
      paths: number of paths.
      events: events of all paths.
      faults: number of impossible events, by what is wrong with them.
      books: number of paths whose final book on the device equals the replayed one.
      clocks: number of paths whose final clock equals the replayed one.
      grammar_mass: probability that the grammar masks, averaged over tokens.
      book_mass: share of the remaining probability that the book masks, averaged over tokens.
      seconds: time to generate, including compilation, and to check.
    """

    tokens: str
    model: str
    paths: int
    events: int
    faults: dict[str, int]
    books: int
    clocks: int
    grammar_mass: float
    book_mass: float
    seconds: float


def settings(kind: str, steps: int) -> ml_collections.ConfigDict:
    """Return the configuration of a small model trained on simulated days."""
    config = CONFIGS[kind]()
    if kind == "ranks":
        config.tokens.references = "rank"
    config.data.synthetic_days, config.data.synthetic_events = 1, 12_000
    config.train.steps, config.train.validate_every, config.train.log_every = steps, max(1, steps // 2), steps
    config.train.warmup_steps = min(config.train.warmup_steps, max(1, steps // 4))
    return config


def run(kind: str, workdir: pathlib.Path, *, events: int, steps: int, seed: int) -> Iterator[Checked]:
    """Train a model with one kind of tokens; yield the results of the untrained and of the trained model.

    Args:
      kind: "exact", "ranks" or "compact".
      workdir: an empty folder for records and checkpoints.
      events: events to generate from each model.
      steps: training steps.
      seed: seed of initialisation and sampling.
    """
    made = trained(settings(kind, steps), workdir, prompt_events=PROMPT)
    paths = min(PATHS, events)
    sampling = SamplingConfig(paths=paths, events=-(-events // paths), seed=seed)
    models = {"untrained": initial_parameters(made.model, jax.random.key(seed)), "trained": made.params}
    for name, params in models.items():
        yield check(made._replace(params=params), sampling=sampling, named=(kind, name))


def check(made: Trained, *, sampling: SamplingConfig, named: tuple[str, str]) -> Checked:
    """Generate from one model and check every event; `named` is the kind of tokens and the name of the model."""
    began = time.perf_counter()
    params, prompt, model, tokenizer, instrument = made
    generated = generate(params, prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
    how: dict[str, Any] = {"start": prompt.start, "tokenizer": tokenizer, "instrument": instrument}
    found, books, clocks = [], 0, 0
    rows = zip(generated.tokens, generated.corrections, generated.levels, generated.clock_ns, strict=True)
    for tokens, corrections, levels, clock in rows:
        day = path_day(tokens, corrections, **how)
        found.append(check_day(day, closed=prompt.closed))
        books, clocks = books + (found[-1].levels == levels), clocks + (int(day.events.time_ns[-1]) == clock)
    return Checked(
        *named,
        paths=len(found),
        events=sum(one.events for one in found),
        faults=merged(found),
        books=books,
        clocks=clocks,
        grammar_mass=float(generated.grammar_mass.mean()),
        book_mass=float(generated.book_mass.mean()),
        seconds=time.perf_counter() - began,
    )


def table(rows: list[Checked]) -> Table:
    """Return a table of the runs."""
    # Without vertical lines it fits into 80 columns.
    shown = Table(
        title="generated events, decoded and replayed in plain Python", box=SIMPLE_HEAD, collapse_padding=True
    )
    for heading in ("tokens", "model", "paths", "events", "invalid", "books equal", "grammar mask", "book mask", "s"):
        left = heading in ("tokens", "model")
        shown.add_column(heading, justify="left" if left else "right", no_wrap=left)
    for row in rows:
        masses = (f"{row.grammar_mass:.2%}", f"{row.book_mass:.2%}")
        counts = (f"{row.paths:,}", f"{row.events:,}", f"{sum(row.faults.values()):,}", f"{row.books:,}")
        shown.add_row(row.tokens, row.model, *counts, *masses, f"{row.seconds:,.0f}")
    return shown


def main(arguments: list[str]) -> int:
    """Print a table of all runs, then one JSON object; return the number of runs that fail the check.

    A run fails if it generates an invalid event, or if a book or a clock differs from the replayed one.
    """
    parser = argparse.ArgumentParser(prog="lob_jax.bench.validity", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="events to generate in all runs together")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rows = []
    for kind in CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            each = {"events": -(-options.events // (2 * len(CONFIGS))), "steps": options.steps, "seed": options.seed}
            rows += run(kind, pathlib.Path(folder), **each)
    Console().print(table(rows))
    about = surroundings("validity", packages=PACKAGES, used="all used")
    print(json.dumps({"benchmark": "validity", "runs": [dataclasses.asdict(row) for row in rows], **about}))
    return sum(bool(row.faults) or row.books < row.paths or row.clocks < row.paths for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
