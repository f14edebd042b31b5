"""A small market day, its records, and a tiny model."""

import dataclasses
import functools
import types

import jax
import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.book.snapshot import BookSnapshot, Corrections
from lob_jax.config.sections import model_config
from lob_jax.configs import base
from lob_jax.data.records.builder import prepare_records
from lob_jax.data.records.records import RecordPlan
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Events, Kind
from lob_jax.feeds.feed import DaySource
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import initial_parameters
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer

INSTRUMENT = Instrument("TEST", "XNAS", "2012-06-21", time_zone="America/New_York")
OPEN_NS = INSTRUMENT.midnight_ns() + 34_200 * 10**9


def market_day(count: int, seed: int = 0) -> MarketDay:
    """A day of valid orders on two sides, each level one order; sizes of one to four digits."""
    rng, time_ns, rows = np.random.default_rng(seed), OPEN_NS, []
    level = {1: {9_900: 100}, -1: {10_100: 1_005}}
    start = [(1, 9_900, 100), (-1, 10_100, 1_005)]
    while len(rows) < count:
        time_ns += int(rng.lognormal(15, 3)) if rng.random() < 0.8 else 0
        side = int(rng.choice([1, -1]))
        own, best = level[side], max(level[side], key=lambda price: price * side)
        price = best + side * 100 * int(rng.integers(-3, 2))
        against = max(level[-side], key=lambda other: -other * side)
        if price in own and (len(own) > 1 or rng.random() < 0.5):
            whole_level = len(own) > 1 and rng.random() < 0.6
            size = own[price] if whole_level else max(1, own[price] // 4)
            kind = (
                (Kind.EXECUTE if price == best and rng.random() < 0.5 else Kind.DELETE) if whole_level else Kind.CANCEL
            )
            own[price] -= size
            if own[price] == 0:
                del own[price]
        elif price not in own and (against - price) * side > 0:
            kind, size = Kind.ADD, int(rng.choice([5, 100, 200, 1_005, 37]))
            own[price] = size
        else:
            kind, size, price = Kind.EXECUTE_HIDDEN, 10, best
        rows.append((time_ns, kind, side, price, size))
    names = ("time_ns", "kind", "side", "price", "size")
    columns = dict(zip(names, np.array(rows).T, strict=True))
    side, price, size = np.array(start).T
    nameless = (np.zeros(2, np.uint64), np.zeros(2, bool))
    book = BookSnapshot(OPEN_NS, side.astype(np.int8), price, size, *nameless, price.astype(np.int64))
    return MarketDay(INSTRUMENT, book, Events.from_columns(**columns), Corrections.none(), {})


@pytest.fixture(scope="session")
def day():
    return market_day(600)


@pytest.fixture(scope="session")
def folder(day, tmp_path_factory):
    """Prepared records of the day, for a context of 32 tokens."""
    where = tmp_path_factory.mktemp("prepared") / "records"
    plan = RecordPlan(
        record_events=100, context=32, book_levels=2, train_fraction=0.6, validation_fraction=0.15, embargo_events=20
    )
    feed = types.SimpleNamespace(read=lambda source, reading: day)
    source = DaySource(None, INSTRUMENT.symbol, INSTRUMENT.trading_day)
    prepare_records(feed, [source], folder=where, tokenizer=ExactTokenizer(), plan=plan, inputs={"feed": "test"})
    return where


def lively_parameters(config: ModelConfig):
    """Random parameters, probabilities far from uniform; drawn by NumPy, as compiling the model's own is slow."""
    shapes = jax.eval_shape(functools.partial(initial_parameters, config), jax.random.key(0))
    rng = np.random.default_rng(1)
    return jax.tree.map_with_path(
        lambda path, leaf: rng.normal("scale" in jax.tree_util.keystr(path), 0.3, leaf.shape).astype(np.float32), shapes
    )


@pytest.fixture(scope="session")
def tiny():
    """A function that makes a configuration and lively random parameters."""

    @functools.cache
    def make(positions: str = "learned", **changes):
        config = dataclasses.replace(
            model_config(base.get_config()),
            d_model=16,
            n_layers=2,
            n_heads=2,
            head_size=0,
            d_ff=32,
            vocab_size=v.VOCAB_SIZE,
            max_seq_length=32,
            dropout=0.0,
            tie_embeddings=True,
            norm="pre",
            positions=positions,
            time_of_day=True,
            time_buckets=288,
            day_of_week=True,
            book_state=True,
            book_features=8,
            standardize_book=True,
            flow_state=False,
            queue_state=False,
            price_memory=False,
            latest_tokens=False,
            token_parts=False,
            digits_rank=0,
            gap_components=0,
            counts=0,
            pointer=False,
            dtype="float32",
        )
        config = dataclasses.replace(config, **changes)
        return config, lively_parameters(config)

    return make
