"""How many drafted tokens stand, and what that gains, when a model of four heads drafts for itself.

`python -m lob_jax.bench.speculative` trains configs/next_tokens.py on simulated days (`--path` for a LOBSTER day of
your own), as wide and deep as `--width` and `--layers` say, and continues its first test events, plainly and
speculatively with `--drafts` a round, in turns; one path, `--events` events, as many times as `--rounds` says,
each time with another seed. Medians count; compilation does not. A round of speculation is one forward pass; plain
decoding takes one a token. With `--transformers` a GPT-2 of the same shape takes turns, in a process of its own, as in
`lob_jax.bench.generate`: about as many tokens behind as long a prompt, from its whole distribution.
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
from lob_jax.generation.device.state import SamplingConfig
from lob_jax.generation.loop import generate
from lob_jax.generation.speculative import Speculation, generate_speculatively
from lob_jax.models.accounting import parameter_count

PACKAGES = ("jax", "jaxlib", "flax", "numpy")
PROMPT = 50  # events
TOKENS_AN_EVENT = 4  # about


@dataclasses.dataclass(frozen=True)
class Measured:
    """Figures of one number of drafts.

    Attributes:
      drafts: tokens guessed a round; 0 is plain decoding.
      acceptance: share of the guesses that stood.
      tokens_a_pass: tokens a forward pass gives.
      tokens_a_second: median over rounds.
      speed_up: median over rounds of tokens a second over those of plain decoding in the same round.
      over_transformers: likewise, of GPT-2's in transformers; None without it.
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
    """Generate once; return the tokens a second, and how the drafts did."""
    params, prompt, model, tokenizer, instrument = made
    sampling = SamplingConfig(paths=1, events=events, seed=seed, temperature=temperature)
    how = {"model": model, "tokenizer": tokenizer, "instrument": instrument, "sampling": sampling}
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
    """Let plain decoding, 0 in front of the choices, and speculative generate once to get ready, and then in turns.

    Args:
      made: the model, its prompt and what they are made of.
      choices: numbers of drafts.
      events: generated each time.
      temperature: see `SamplingConfig`.
      rounds: that count.
      theirs: lets transformers generate from a seed.
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
    """Return a table of the figures."""
    shown = Table(title=title)
    for heading in ("drafts", "accepted", "tokens a pass", "tokens/s", "x plain", "x transformers"):
        shown.add_column(heading, justify="right")
    for row in rows:
        accepted = f"{row.acceptance:.1%}" if row.drafts else ""
        over = f"{row.over_transformers:.2f}" if row.over_transformers is not None else ""
        speeds = (f"{row.tokens_a_second:,.0f}", f"{row.speed_up:.2f}", over)
        shown.add_row(str(row.drafts), accepted, f"{row.tokens_a_pass:.2f}", *speeds)
    return shown


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="lob_jax.bench.speculative", description=__doc__)
    parser.add_argument("--path", type=user_path, help="of a LOBSTER day; simulated days if absent")
    parser.add_argument("--width", type=int, default=64, help="of the model")
    parser.add_argument("--layers", type=int, default=3, help="of the model")
    parser.add_argument("--steps", type=int, default=200, help="of training, 16 windows of 256 tokens each")
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--events", type=int, default=200, help="generated each time")
    parser.add_argument("--drafts", default="1,2,3", help="tokens guessed a round")
    parser.add_argument("--temperatures", default="1.0,0.0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--transformers", action="store_true", help="measure GPT-2 beside it; needs the extra [bench]")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, and print a table a temperature and a line of JSON."""
    chosen, runs, packages = parsed(arguments), {}, PACKAGES
    with tempfile.TemporaryDirectory() as folder:
        made = trained(settings(chosen), pathlib.Path(folder), prompt_events=PROMPT)
    shape = f"{chosen.layers} layers x {chosen.width}, {parameter_count(made.model) / 1e6:.1f}M parameters"
    choices = (0, *map(int, chosen.drafts.split(",")))
    how = {"events": chosen.events, "rounds": chosen.rounds}
    with contextlib.ExitStack() as open_sides:
        if chosen.transformers:
            prompt = min(len(made.prompt.tokens_T), made.model.max_seq_length // 2)  # as much as speculation reads
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
