"""Engines over small networks in ONNX Runtime, the questions that tests ask them, and what they must answer."""

import contextlib
import dataclasses
import functools
import threading

import jax
import numpy as np

from lob_jax.export.decoder import OnnxDecoder, OnnxNetwork
from lob_jax.export.graphs import step_graph
from lob_jax.generation.host.loop import generate
from lob_jax.generation.paths import path_day
from lob_jax.generation.settings import SamplingConfig
from lob_jax.models.transformer import initial_parameters
from lob_jax.runs.exported import prompt_for
from lob_jax.serving.config import EngineConfig
from lob_jax.serving.engine.courses import Served
from lob_jax.serving.engine.engine import Engine
from lob_jax.serving.engine.warm_up import ask
from lob_jax.serving.requests import Generate, History, ModelFacts
from tests.generation.market import COMPACT
from tests.serving.market.markets import BINS, EVERYTHING, TOKENIZERS, contents_of, days

SIZES = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24, "time_buckets": 24, "max_seq_length": 96}
SHORT = {**SIZES, "dropout": 0.0, "dtype": "float32"}
MODELS = {
    "by time": dataclasses.replace(EVERYTHING, **SHORT),
    "learned": dataclasses.replace(EVERYTHING, **SHORT, positions="learned", flow_state=False, queue_state=False),
    "prefix": dataclasses.replace(EVERYTHING, **SHORT, positions="rotary", regime="prefix", pointer=False),
    "compact": dataclasses.replace(BINS, **SHORT),
}
SETTINGS = EngineConfig(
    rows=8, queue=8, sessions=3, sessions_per_owner=2, idle_s=60.0, precision="", threads=1, deadline_s=900.0
)


def tokenizer_of(name):
    return COMPACT if name == "compact" else TOKENIZERS["exact"]


@functools.cache
def params_of(name):
    """Return parameters whose predictions differ from token to token."""
    return jax.tree.map(
        lambda leaf: np.asarray(leaf) + np.random.default_rng(leaf.size).normal(0, 0.05, leaf.shape).astype(np.float32),
        initial_parameters(MODELS[name], jax.random.key(0)),
    )


@functools.cache
def graph_of(name):
    return step_graph(params_of(name), MODELS[name]).SerializeToString()


class Watched:
    """A network that can be held up, or fail, and says how many rows it reads."""

    def __init__(self, network):
        self._network, self.go_on, self.failure = network, threading.Event(), None
        self.go_on.set()
        self.steps, self.widest, self.blocks, self.looks = 0, 0, 0, 0

    def new_cache(self, rows):
        return self._network.new_cache(rows)

    def look(self, cache, inputs):
        self.go_on.wait()
        self.looks += 1
        return self._network.look(cache, inputs)

    def read(self, cache, inputs):
        self.go_on.wait()
        if self.failure is not None and inputs["tokens"].shape[1] == 1:
            raise self.failure
        if inputs["tokens"].shape[1] == 1:
            self.steps, self.widest = self.steps + 1, max(self.widest, len(inputs["tokens"]))
        else:
            self.blocks += 1
        return self._network.read(cache, inputs)


@contextlib.contextmanager
def serving(
    name="by time",
    day="orders",
    score=lambda asked: len(asked.history.events),
    mask=None,
    largest=None,
    reference=None,
    **changes,
):
    """Give an engine and its network."""
    market, tokenizer = days()[day], tokenizer_of(name)
    network = Watched(OnnxNetwork(graph_of(name), MODELS[name], threads=1))
    model = MODELS[name] if mask is None else dataclasses.replace(MODELS[name], mask=mask)
    contents = dataclasses.replace(contents_of(market, tokenizer, model), reference=reference)
    if largest is not None:
        contents = dataclasses.replace(contents, largest=largest)
    served = Served(contents, tokenizer, network, score=score, infer=lambda *_: {})
    facts = ModelFacts(name, "", "", contents.instrument, "float32", 0, 0, market.start.window, False, 0, {}, {}, {})
    engine = Engine(served, facts, dataclasses.replace(SETTINGS, **changes))
    engine.set_ready()
    try:
        yield engine, network
    finally:
        network.go_on.set()
        engine.drain(0.0)


def history_of(day, events=20):
    """Return the beginning of a day as a history."""
    return History(day.start, day.events[:events], day.corrections.between(0, events))


def beginning(day, events=20):
    return dataclasses.replace(day, events=day.events[:events], corrections=day.corrections.between(0, events))


def rows_of(items):
    """Return the events of each path, and the levels that they showed."""
    paths = {}
    for item in items:
        assert item.number == len(paths.setdefault(item.path, []))
        event = (item.time_ns, item.kind, item.code, item.side, item.price, item.size)
        paths[item.path].append((*event, item.shown))
    return paths


def sampled(engine, market, **how):
    sampling = SamplingConfig(**{"paths": 3, "events": 30, "seed": 5, **how})
    return rows_of(ask(engine, Generate(market, sampling)))


def generated(name, day, **how):
    """Return what generation without a server samples after a day, as `rows_of` has it."""
    tokenizer, model = tokenizer_of(name), MODELS[name]
    contents = contents_of(day, tokenizer, model)
    parts = {"contents": contents, "model": model, "settings": contents.settings, "tokenizer": tokenizer}
    bundle = type("Bundle", (), {**parts, "instrument": contents.instrument})
    prompt = prompt_for(bundle, day, events=len(day.events))
    sampling = SamplingConfig(**{"paths": 3, "events": 30, "seed": 5, **how})
    instrument = dataclasses.replace(contents.instrument, trading_day=day.instrument.trading_day)
    decoder = OnnxDecoder(graph_of(name), model, threads=1)
    drawn = generate(decoder, prompt, model=model, tokenizer=tokenizer, instrument=instrument, sampling=sampling)
    paths = {}
    for path, (tokens, corrections) in enumerate(zip(drawn.tokens, drawn.corrections, strict=True)):
        made = path_day(tokens, corrections, start=prompt.start, tokenizer=tokenizer, instrument=instrument)
        names = ("time_ns", "kind", "code", "side", "price", "size")
        columns = (getattr(made.events, name).tolist() for name in names)
        levels = [getattr(corrections, name).tolist() for name in ("event", "side", "price", "size")]
        shown = {event: tuple(level) for event, *level in zip(*levels, strict=True)}
        paths[path] = [(*row, shown.get(number)) for number, row in enumerate(zip(*columns, strict=True))]
    return paths
