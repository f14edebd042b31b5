"""Measure the acceptance rate and speed-up of self-speculative decoding with a model of four heads.

`python -m lob_jax.bench.speculative` trains configs/next_tokens.py, with the given `--width` and `--layers`, on
simulated days or on your LOBSTER day (`--path`). It then continues the first test events by one path of `--events`
events, with plain decoding and with `--drafts` drafted tokens per round, in turns, `--rounds` times with different
seeds. Results are medians and exclude compilation. A round of speculation takes one forward pass; plain decoding takes
one per token. With `--transformers`, GPT-2 of the same shape also takes turns, in a separate process as in
`lob_jax.bench.generate`: it samples about as many tokens from its full distribution, after a prompt of the same length.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from rich.console import Console
from rich.table import Table

from lob_jax.bench.generate import Sample, Transformers
from lob_jax.bench.processes import Resident
from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.bench.trained import Trained, trained
from lob_jax.configs import next_tokens
from lob_jax.generation.loop import generate
from lob_jax.generation.settings import SamplingConfig
from lob_jax.generation.speculative import Speculation, generate_speculatively
from lob_jax.models.accounting import parameter_count

PACKAGES = ("jax", "jaxlib", "flax", "numpy")
PROMPT = 50  # events
TOKENS_AN_EVENT = 4  # approximately


@dataclasses.dataclass(frozen=True)
class Measured:
    """The results for one number of drafts.

    Attributes:
      drafts: tokens drafted per round; 0 is plain decoding.
      acceptance: acceptance rate, the share of the drafted tokens that are accepted.
      tokens_a_pass: tokens per forward pass.
      tokens_a_second: tokens per second, median over rounds.
      speed_up: tokens per second divided by those of plain decoding in the same round, median over rounds.
      over_transformers: the same ratio to GPT-2 in transformers; None if it is not measured.
    """

    drafts: int
    acceptance: float
    tokens_a_pass: float
    tokens_a_second: float
    speed_up: float
    over_transformers: float | None


def settings(chosen: argparse.Namespace) -> ml_collections.ConfigDict:
    """Return the configuration to train."""
    config = next_tokens.get_config("tiny")
    if chosen.path:
        config.data.feed, config.data.path = "lobster", str(chosen.path)
    heads = max(1, chosen.width // 64)
    config.model.update(
        {"d_model": chosen.width, "n_layers": chosen.layers, "n_heads": heads, "d_ff": 4 * chosen.width}
    )
    config.train.steps = chosen.steps
    config.train.validate_every = max(1, chosen.steps // 4)
    config.train.warmup_steps = min(config.train.warmup_steps, max(1, chosen.steps // 4))
    config.train.learning_rate = chosen.learning_rate
    return config


def once(made: Trained, *, drafts: int, events: int, temperature: float, seed: int) -> tuple[float, Speculation]:
    """Generate once; return the tokens per second, and the counts of drafted and accepted tokens.

    Args:
      made: the model and its prompt.
      drafts: tokens drafted per round; 0 for plain decoding.
      events: events to generate.
      temperature: see `SamplingConfig`.
      seed: seed of the sampler.
    """
    params, prompt, model, tokenizer, instrument = made
    sampling = SamplingConfig(paths=1, events=events, seed=seed, temperature=temperature)
    how: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "instrument": instrument, "sampling": sampling}
    began = time.perf_counter()
    if drafts:
        generated, about = generate_speculatively(params, prompt, drafts=drafts, **how)
    else:
        generated = generate(params, prompt, **how)
        about = Speculation(rounds=len(generated.tokens[0]), drafted=0, accepted=0)
    return len(generated.tokens[0]) / (time.perf_counter() - began), about


def measure(
    made: Trained,
    choices: Sequence[int],
    *,
    events: int,
    temperature: float,
    rounds: int,
    theirs: Callable[[int], Sample] | None = None,
) -> list[Measured]:
    """Let every number of drafts generate once to warm up, then in turns.

    Args:
      made: the model and its prompt.
      choices: numbers of drafts; 0, plain decoding, must be one of them.
      events: events to generate each time.
      temperature: see `SamplingConfig`.
      rounds: timed rounds.
      theirs: generates with transformers from a seed.
    """
    other: list[float] = []
    speeds: dict[int, list[float]] = {drafts: [] for drafts in choices}
    counts: dict[int, list[Speculation]] = {drafts: [] for drafts in choices}
    for seed in range(rounds + 1):
        for drafts in choices:
            speed, about = once(made, drafts=drafts, events=events, temperature=temperature, seed=seed)
            if seed:
                speeds[drafts].append(speed)
                counts[drafts].append(about)
        sample = theirs(seed) if theirs else None
        if seed and sample:
            other.append(sample.tokens / sample.seconds)
    found = []
    for drafts in choices:
        about = Speculation(*np.sum([dataclasses.astuple(one) for one in counts[drafts]], axis=0).tolist())
        gains = [fast / plain for fast, plain in zip(speeds[drafts], speeds[0], strict=True)]
        over = [fast / slow for fast, slow in zip(speeds[drafts], other, strict=False)]
        found.append(
            Measured(
                drafts=drafts,
                acceptance=about.acceptance,
                tokens_a_pass=about.tokens_a_round,
                tokens_a_second=statistics.median(speeds[drafts]),
                speed_up=statistics.median(gains),
                over_transformers=statistics.median(over) if over else None,
            )
        )
    return found


def table(rows: list[Measured], title: str) -> Table:
    """Return a table of the results."""
    shown = Table(title=title)
    for heading in ("drafts", "accepted", "tokens/pass", "tokens/s", "x plain", "x transformers"):
        shown.add_column(heading, justify="right")
    for row in rows:
        accepted = f"{row.acceptance:.1%}" if row.drafts else ""
        over = f"{row.over_transformers:.2f}" if row.over_transformers is not None else ""
        speeds = (f"{row.tokens_a_second:,.0f}", f"{row.speed_up:.2f}", over)
        shown.add_row(str(row.drafts), accepted, f"{row.tokens_a_pass:.2f}", *speeds)
    return shown


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="lob_jax.bench.speculative", description=__doc__)
    parser.add_argument("--path", type=user_path, help="message file of a LOBSTER day; simulated days if absent")
    parser.add_argument("--width", type=int, default=64, help="width of the model")
    parser.add_argument("--layers", type=int, default=3, help="layers of the model")
    parser.add_argument("--steps", type=int, default=200, help="training steps of 16 windows of 256 tokens")
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--events", type=int, default=200, help="events to generate each time")
    parser.add_argument("--drafts", default="1,2,3", help="numbers of tokens drafted per round, separated by commas")
    parser.add_argument("--temperatures", default="1.0,0.0", help="sampling temperatures, separated by commas")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds")
    parser.add_argument("--transformers", action="store_true", help="also measure GPT-2; needs the extra [bench]")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure, and print a table per temperature, then one JSON object."""
    chosen, runs, packages = parsed(arguments), {}, PACKAGES
    with tempfile.TemporaryDirectory() as folder:
        made = trained(settings(chosen), pathlib.Path(folder), prompt_events=PROMPT)
    shape = f"{chosen.layers} layers x {chosen.width}, {parameter_count(made.model) / 1e6:.1f}M parameters"
    choices = (0, *map(int, chosen.drafts.split(",")))
    how = {"events": chosen.events, "rounds": chosen.rounds}
    with contextlib.ExitStack() as open_sides:
        if chosen.transformers:
            prompt = min(len(made.prompt.tokens_T), made.model.max_seq_length // 2)  # as many as our model reads
            resident = Resident(Transformers, made.model, prompt, chosen.events * TOKENS_AN_EVENT)
            open_sides.callback(resident.close)
            how["theirs"], packages = functools.partial(resident.call, "once", 1), (*PACKAGES, "torch", "transformers")
        for temperature in map(float, chosen.temperatures.split(",")):
            rows = measure(made, choices, temperature=temperature, **how)
            Console().print(table(rows, f"{shape}, temperature {temperature:g}"))
            runs[temperature] = [dataclasses.asdict(row) for row in rows]
    about = surroundings("speculative", packages=packages, used="all used")
    device = jax.devices()[0].device_kind
    print(json.dumps({"benchmark": "speculative", "device": device, "temperatures": runs, **about}))


if __name__ == "__main__":
    main()
