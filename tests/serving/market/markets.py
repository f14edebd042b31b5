"""Days to follow, a model that reads everything, and what its prompts are when a whole day is read at once."""

import dataclasses
import functools
import types

import numpy as np

from lob_jax.book.snapshot import BookSnapshot
from lob_jax.config.sections import model_config
from lob_jax.configs import base
from lob_jax.events.schema import Events, Kind
from lob_jax.export.contents import Contents, RegimeEdges, Reveals, Sampling, Settings
from lob_jax.feeds.synthetic import simulate_day
from lob_jax.runs.exported import prompt_for
from lob_jax.serving.market.market import LiveMarket
from lob_jax.simulation.flow_parameters import FlowParameters
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.shares import SHAPE
from tests.generation.market import COMPACT
from tests.generation.test_reveals import windowed
from tests.test_shifted_prices import shifted

LEVELS = 4
TOKENIZERS = {
    "exact": ExactTokenizer(),
    "rounded": ExactTokenizer(2),
    "ranks": ExactTokenizer(5, "rank"),
    "exact ranks": ExactTokenizer(None, "rank"),
    "compact": COMPACT,
}
EVERYTHING = dataclasses.replace(
    model_config(base.get_config()),
    positions="rotary_time",
    book_features=4 * LEVELS,
    flow_state=True,
    queue_state=True,
    price_memory=True,
    latest_tokens=True,
    pointer=True,
    regime="added",
    n_regimes=9,
    n_instruments=2,
)
BINS = dataclasses.replace(EVERYTHING, price_memory=False, pointer=False)  # of compact tokens
EDGES = RegimeEdges((0.05, 0.2), (1.5, 2.5))
SAMPLING = Sampling(4, 2, 5, 1.0, 0, 1.0, 0.0, True, 0)
REVEALS = Reveals(np.full((2, 3), 2, np.int32), np.full((2, 3), 9, np.int32), np.array([3, 2], np.int32))


@functools.cache
def simulated(seed=1, events=1_200, halts=0.0):
    parameters = dataclasses.replace(FlowParameters(), halts_a_day=halts, halt_deletes=0.5)
    return simulate_day(parameters, seed=seed, events=events, trading_day="2024-03-11")


@functools.cache
def days():
    """Return a day of every kind by name."""
    plain, halting = simulated(), simulated(seed=1, halts=6.0)
    return {
        "orders": plain,
        "halts": halting,
        "window": windowed(plain, 10),
        "narrow window": windowed(plain, 2),
        "levels": pooled(plain),
        "signed": shifted(plain, -int(plain.start.price.mean()) // 100 * 100),
        "without ids": without_ids(plain),
    }


def pooled(day):
    """Return a day as a feed of levels shows it."""
    start, rows = day.start, {}
    for side, price, size in zip(start.side.tolist(), start.price.tolist(), start.size.tolist(), strict=True):
        rows[side, price] = rows.get((side, price), 0) + size
    side, price = np.array(list(rows), np.int64).T
    size, zeros = np.array(list(rows.values())), np.zeros(len(rows))
    columns = {"side": side.astype(np.int8), "price": price, "size": size, "order_id": zeros.astype(np.uint64)}
    start = BookSnapshot(start.time_ns, **columns, anonymous=zeros > 0, last_best=start.last_best, pooled=True)
    return dataclasses.replace(without_ids(day), start=start)


def without_ids(day):
    start = dataclasses.replace(day.start, order_id=np.zeros(len(day.start), np.uint64))
    events = day.events.replace(order_id=np.zeros(len(day.events), np.uint64))
    return dataclasses.replace(day, start=start, events=events)


def contents_of(day, tokenizer, model=None):
    """Return the contents of a model; the instrument is of another day."""
    model = model or (BINS if tokenizer is COMPACT else EVERYTHING)
    instrument = dataclasses.replace(day.instrument, trading_day="2012-06-21")
    settings = Settings(LEVELS, 0, False, ("OTHER", day.instrument.symbol), EDGES, SAMPLING)
    return Contents(
        model, tokenizer.vocabulary, instrument, settings, np.arange(1, 9, dtype=np.int32), REVEALS, np.zeros(SHAPE)
    )


def opened(day, tokenizer, model=None, **how):
    return LiveMarket(day.start, contents=contents_of(day, tokenizer, model), tokenizer=tokenizer, **how)


def whole(day, tokenizer, model=None):
    """Return the prompt of a whole day, read at once."""
    contents = contents_of(day, tokenizer, model)
    parts = {"contents": contents, "model": contents.model, "settings": contents.settings, "tokenizer": tokenizer}
    return prompt_for(types.SimpleNamespace(**parts, instrument=contents.instrument), day, events=len(day.events))


def followed(market, day, cuts=()):
    """Return the inputs at the tokens of a day that a market takes in parts."""
    edges = [0, *cuts, len(day.events)]
    parts = [
        market.take(day.events[first:last], day.corrections.between(first, last))
        for first, last in zip(edges[:-1], edges[1:], strict=True)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def differences(one, other, path=""):
    """Return where two prompts, or parts of theirs, differ in values, types or order."""
    if dataclasses.is_dataclass(one):
        one, other = vars(one), vars(other)
    if hasattr(one, "_asdict"):
        one, other = one._asdict(), other._asdict()
    if isinstance(one, dict):
        keys = [] if list(one) == list(other) else [f"{path}: {list(one)} and {list(other)}"]
        return keys + [
            text for key in one if key in other for text in differences(one[key], other[key], f"{path}/{key}")
        ]
    if isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and np.array_equal(one, other)
        return [] if same else [f"{path}: {one.dtype} {one} and {other.dtype} {other}"]
    return [] if one == other else [f"{path}: {one} and {other}"]


def last_token(prompt):
    """Return a prompt of its last token alone."""
    known = {name: leaf[-1:] for name, leaf in prompt.known_T.items()}
    return dataclasses.replace(prompt, tokens_T=prompt.tokens_T[-1:], known_T=known)


def one_event(day, kind, side, price, size, *, order_id=0, code=0, after_ns=1):
    """Return an event, some time after the opening of a day."""
    columns = {"kind": kind, "side": side, "price": price, "size": size, "order_id": order_id, "code": code}
    time_ns = day.start.time_ns + after_ns
    return Events.from_columns(**{name: np.array([value]) for name, value in {**columns, "time_ns": time_ns}.items()})


def control(day, code, *, after_ns=1):
    return one_event(day, Kind.CONTROL, 0, 0, 0, code=code, after_ns=after_ns)
