"""Measure generated tokens and events per second by batch size; on a CPU also GPT-2 of the same shape in transformers.

`python -m lob_jax.bench.generate` samples from an untrained model, in float32 on a CPU (6 layers x 384) and in bfloat16
elsewhere (LOB-Base), with exact and with compact tokens, and with exact tokens and all that `configs/modern.py` reads
beside them ("inputs"). Times include the grammar, the live book, its mask and the
conditioning of every token; they exclude compilation. All sides start from a prompt of about `--prompt` tokens, use a
KV cache, sample from the full distribution and generate `--tokens` tokens per path. Our model and GPT-2 run in separate
processes, each of which may use every core. The sides take turns, `--rounds` times, and the results are medians of the
seconds and of the ratio in each round. GPT-2 (Hugging Face) has the same layers, width, heads and vocabulary; its
tokens do not encode events. Bandwidth is the bytes that a step must read, the weights once and the filled part of each
path's cache (`lob_jax.models.accounting`), divided by the time of a step.
"""

import argparse
import dataclasses
import functools
import importlib.util
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from lob_jax.bench.processes import Resident
from lob_jax.bench.surroundings import surroundings
from lob_jax.book.day import MarketDay
from lob_jax.book.replay import references
from lob_jax.config.sections import model_config
from lob_jax.configs import base, modern
from lob_jax.data.records.records import make_records
from lob_jax.data.records.split import Part
from lob_jax.data.windows.known import MAKERS, Beside
from lob_jax.export.config import PRECISIONS
from lob_jax.export.decoder import OnnxDecoder
from lob_jax.export.graphs import step_graph
from lob_jax.export.quantize import quantized
from lob_jax.feeds.feed import STRICT
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.generation import loop
from lob_jax.generation.host import loop as host_loop
from lob_jax.generation.host.state import Number
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.settings import SamplingConfig
from lob_jax.models.accounting import bytes_per_generated_token, cache_bytes_per_token, parameter_count
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import fields_held
from lob_jax.models.transformer import initial_parameters
from lob_jax.runs.prompt import make_prompt
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.seen import seen_in
from lob_jax.tokens.tokenizer import Tokenizer

PACKAGES = ("jax", "jaxlib", "flax", "numpy")
BATCHES = (1, 8, 64, 512)
LEVELS = 5
HEAD = 64  # width of an attention head
REST_S = 0.5  # before each turn
NEVER_DONE = 2**30  # a number of events that no path reaches, so that only --tokens ends a round
OURS, THEIRS = ("exact", "compact", "inputs"), "transformers"
GRAPHS = {f"onnx {precision}": precision for precision in PRECISIONS}  # exact tokens, on the host, by ONNX Runtime
INPUTS = (
    "flow_state",
    "queue_state",
    "price_memory",
    "pointer",
    "token_parts",
    "digits_rank",
    "gap_components",
    "mask",
)
TOKENS_AN_EVENT = {"exact": 4, "compact": 1}  # of a simulated day, about


class Sample(NamedTuple):
    """The result of one round.

    Attributes:
      seconds: total time.
      tokens: tokens of all paths.
      events: events of all paths; 0 for GPT-2, whose tokens do not encode events.
    """

    seconds: float
    tokens: int
    events: int


@dataclasses.dataclass(frozen=True)
class Measured:
    """The results for one side and batch size.

    Attributes:
      side: one of OURS, or THEIRS.
      batch: paths generated at once.
      tokens_a_second: tokens per second, median over rounds.
      events_a_second: events per second, median over rounds.
      ratio: tokens per second divided by those of transformers in the same round, median over rounds; None if
        transformers is not measured.
      bandwidth: bytes read per second.
    """

    side: str
    batch: int
    tokens_a_second: float
    events_a_second: float
    ratio: float | None
    bandwidth: float


def bench_model(platform: str, settings: argparse.Namespace) -> ModelConfig:
    """Return the model to measure on a platform."""
    model, width = model_config(base.get_config()), settings.width
    read = {"max_seq_length": settings.context, "dropout": 0.0, "book_state": True, "book_features": 4 * LEVELS}
    if platform == "cpu":
        shape = {"n_layers": settings.layers, "d_model": width, "n_heads": width // HEAD, "d_ff": 4 * width}
        return dataclasses.replace(model, **read, **shape, dtype="float32")
    return dataclasses.replace(model, **read, dtype="bfloat16")


def tokenizers(day: MarketDay) -> dict[str, Tokenizer]:
    """Return both tokenizers; the bins of the compact one are fitted to the day."""
    before = references(day)[:-1]
    seen = seen_in(day.events, before, day.instrument, day.start.time_ns)
    return {"exact": ExactTokenizer(5), "compact": CompactTokenizer.fit([seen])}


def with_inputs(model: ModelConfig) -> ModelConfig:
    """Return a model that reads what `configs/modern.py` reads beside tokens."""
    modern_model = modern.get_config().model
    return dataclasses.replace(model, **{name: modern_model[name] for name in INPUTS})


def prompt_of(day: MarketDay, tokenizer: Tokenizer, model: ModelConfig, *, tokens: int) -> Prompt:
    """Return the first events of a day, about so many tokens, as a prompt."""
    events = tokens // TOKENS_AN_EVENT[tokenizer.name]
    part = Part("train", 0, 4 * events, 0)
    shape: dict[str, Any] = {"record_events": 2 * events, "context": 2, "book_levels": LEVELS}
    records = [one for _, one in make_records(day, [part], tokenizer, **shape, flow_state=model.flow_state)]
    beside = Beside(tuple(name for name in fields_held(model) if name in MAKERS), tokenizer=tokenizer)
    how: dict[str, Any] = {"tokenizer": tokenizer, "time_buckets": model.time_buckets, "beside": beside}
    return make_prompt(records, events=events, **how)


class Ours:
    """Our model in this process; on a CPU each core is a device, so that a batch of paths is sharded over the cores."""

    def __init__(self, settings: argparse.Namespace):
        jax.config.update("jax_num_cpu_devices", os.cpu_count())  # has no effect once JAX has started its backend
        self._settings, self.model = settings, bench_model(jax.default_backend(), settings)
        self.models = {"exact": self.model, "compact": self.model, "inputs": with_inputs(self.model)}
        self._params: dict[ModelConfig, Any] = {}
        self._decoders: dict[str, OnnxDecoder] = {}
        feed = SyntheticFeed(1, 2_000, 0)
        self._day = feed.read(feed.days()[0], STRICT)
        self._tokenizers = tokenizers(self._day)

    def about(self) -> dict[str, Any]:
        """Return the platform, the kind and number of devices, and the model."""
        devices = jax.local_devices()
        kind, count = devices[0].device_kind, len(devices)
        return {"platform": jax.default_backend(), "device": kind, "devices": count, "model": self.model}

    def once(self, kind: str, batch: int, seed: int) -> Sample:
        """Generate from one prompt with one kind of tokens."""
        tokenizer = self._tokenizers["compact" if kind == "compact" else "exact"]
        model, settings, instrument = self.models[kind], self._settings, self._day.instrument
        prompt = prompt_of(self._day, tokenizer, model, tokens=settings.prompt)
        sampling = SamplingConfig(paths=batch, events=NEVER_DONE, seed=seed)
        begun = loop.begin(prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
        params = self._parameters(model)
        began, drawn = time.perf_counter(), 0
        for piece in loop.run(params, begun):
            drawn += piece.rows.tokens.shape[1]
            if drawn >= settings.tokens:
                break
        seconds = time.perf_counter() - began
        return Sample(seconds, drawn * batch, int(np.asarray(piece.paths.spelling.events).sum()))

    def on_host(self, precision: str, batch: int, seed: int) -> Sample:
        """Generate from one prompt without JAX: by an exported graph and the compiled loops of the host."""
        tokenizer, model, settings = self._tokenizers["exact"], self.model, self._settings
        prompt = prompt_of(self._day, tokenizer, model, tokens=settings.prompt)
        sampling = SamplingConfig(paths=batch, events=NEVER_DONE, seed=seed)
        how: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "instrument": self._day.instrument}
        decoder = self._decoder(precision)
        began = time.perf_counter()
        paths = itertools.islice(host_loop.sampled(decoder, [prompt], sampling=sampling, **how), settings.tokens)
        *_, last = paths
        seconds = time.perf_counter() - began
        return Sample(seconds, settings.tokens * batch, int(last.number[:, Number.EVENTS].sum()))

    def _decoder(self, precision: str) -> OnnxDecoder:
        if precision not in self._decoders:
            graph = quantized(step_graph(self._parameters(self.model), self.model), precision)
            self._decoders[precision] = OnnxDecoder(graph.SerializeToString(), self.model)
        return self._decoders[precision]

    def _parameters(self, model: ModelConfig) -> Any:
        if model not in self._params:
            self._params[model] = initial_parameters(model, jax.random.key(0))
        return self._params[model]


class Transformers:
    """GPT-2 of the same shape in Hugging Face transformers, in this process."""

    def __init__(self, model: ModelConfig, prompt: int, tokens: int):
        import transformers

        transformers.logging.set_verbosity_error()
        shape = {"n_embd": model.d_model, "n_layer": model.n_layers, "n_head": model.n_heads, "n_inner": model.d_ff}
        longest = max(model.max_seq_length, prompt + tokens)
        config = transformers.GPT2Config(
            vocab_size=model.vocab_size, n_positions=longest, bos_token_id=1, eos_token_id=2, **shape
        )
        self._prompt, self._tokens, self._vocabulary = prompt, tokens, model.vocab_size
        self._gpt2 = transformers.GPT2LMHeadModel(config).eval()

    def once(self, batch: int, seed: int) -> Sample:
        """Generate from a random prompt."""
        import torch

        torch.manual_seed(seed)
        tokens = torch.randint(3, self._vocabulary, (batch, self._prompt))
        exactly = {"max_new_tokens": self._tokens, "min_new_tokens": self._tokens}
        how = {"do_sample": True, "top_k": 0, "use_cache": True, "pad_token_id": 0, "eos_token_id": None, **exactly}
        began = time.perf_counter()
        with torch.inference_mode():
            self._gpt2.generate(tokens, attention_mask=torch.ones_like(tokens), **how)
        return Sample(time.perf_counter() - began, self._tokens * batch, 0)


def measure(sides: Mapping[str, Callable[..., Sample]], batch: int, *, rounds: int) -> dict[str, list[Sample]]:
    """Let every side generate once to warm up, then in turns.

    Taking turns exposes all sides to the same load from other work on the machine. Before each turn there is a pause:
    threads of OpenMP and ONNX Runtime go on spinning for a while when their work is done, on cores that the next needs.
    """
    for once in sides.values():
        once(batch, 0)
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, once in sides.items():
            time.sleep(REST_S)
            samples[name].append(once(batch, number))
    return samples


def figures(samples: dict[str, list[Sample]], batch: int, model: ModelConfig, settings: Any) -> list[Measured]:
    """Return the results from the samples of one batch size."""
    theirs = [one.tokens / one.seconds for one in samples.get(THEIRS, [])]
    weights = bytes_per_generated_token(model, 0)
    found = []
    for name, taken in samples.items():
        speed = [one.tokens / one.seconds for one in taken]
        filled = settings.prompt + taken[0].tokens / batch / 2  # filled positions of a path's cache, on average
        read = weights + batch * filled * cache_bytes_per_token(model)
        ratios = [ours / other for ours, other in zip(speed, theirs, strict=False)]
        found.append(
            Measured(
                side=name,
                batch=batch,
                tokens_a_second=statistics.median(speed),
                events_a_second=statistics.median([one.events / one.seconds for one in taken]),
                ratio=statistics.median(ratios) if ratios and name != THEIRS else None,
                bandwidth=read * statistics.median(speed) / batch,
            )
        )
    return found


def table(rows: list[Measured], title: str) -> Table:
    """Return a table of the results."""
    shown = Table(title=title)
    for heading in ("", "paths", "tokens/s", "events/s", "x transformers", "GB/s read"):
        shown.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        events = f"{row.events_a_second:,.0f}" if row.events_a_second else ""
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        shown.add_row(
            row.side, str(row.batch), f"{row.tokens_a_second:,.0f}", events, ratio, f"{row.bandwidth / 1e9:.1f}"
        )
    return shown


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="lob_jax.bench.generate", description=__doc__)
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)), help="numbers of paths generated at once")
    parser.add_argument("--tokens", type=int, default=224, help="tokens to generate per path")
    parser.add_argument("--prompt", type=int, default=32, help="approximate length of the prompt in tokens")
    parser.add_argument("--context", type=int, default=1024, help="context length of the model")
    parser.add_argument("--layers", type=int, default=6, help="layers of the model, on a CPU")
    parser.add_argument("--width", type=int, default=6 * HEAD, help="width of the model, on a CPU")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds")
    parser.add_argument(
        "--sides", default=",".join((*OURS, *GRAPHS, THEIRS)), help="what to measure, separated by commas"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every side, and print a table, then one JSON object."""
    settings = parsed(arguments)
    wanted, ours = settings.sides.split(","), Resident(Ours, settings)
    about = ours.call("about")
    model: ModelConfig = about.pop("model")
    residents, sides = [ours], {name: functools.partial(ours.call, "once", name) for name in OURS if name in wanted}
    if about["platform"] == "cpu" and importlib.util.find_spec("onnxruntime") is not None:
        sides |= {
            name: functools.partial(ours.call, "on_host", precision)
            for name, precision in GRAPHS.items()
            if name in wanted
        }
    theirs = THEIRS in wanted and about["platform"] == "cpu" and importlib.util.find_spec(THEIRS) is not None
    if theirs:
        residents.append(Resident(Transformers, model, settings.prompt, settings.tokens))
        sides[THEIRS] = functools.partial(residents[-1].call, "once")
    rows: list[Measured] = []
    try:
        for batch in map(int, settings.batches.split(",")):
            rows += figures(measure(sides, batch, rounds=settings.rounds), batch, model, settings)
    finally:
        for resident in residents:
            resident.close()
    shape = f"{model.n_layers} layers x {model.d_model}, {parameter_count(model) / 1e6:.1f}M parameters, {model.dtype}"
    Console().print(table(rows, f"{shape}, {settings.tokens} tokens after a prompt of {settings.prompt}"))
    packages = (*PACKAGES, *(("torch", THEIRS) if theirs else ()))
    about |= surroundings("generate", packages=packages, used="all used")
    print(json.dumps({"benchmark": "generate", "rows": [dataclasses.asdict(row) for row in rows], **about}))


if __name__ == "__main__":
    main()
