"""What a network is asked to read of a market, and the rows in which paths continue it."""

import dataclasses

import numpy as np
import pytest

from lob_jax.export.cache import BLOCK
from lob_jax.serving.engine import context as contexts
from lob_jax.serving.engine.context import MarketContext, PathContexts, Trials
from lob_jax.serving.engine.rows import RowPool
from lob_jax.tokens.vocabulary import REGIME_BASE
from tests.serving.engine.engines import MODELS


class Written:
    """A network whose cache is the list of tokens that each row has read, and whose logits are their number."""

    def __init__(self):
        self.calls, self.looks = [], []

    def look(self, cache, inputs):
        self.looks.append((list(cache.rows[0]), inputs["tokens"].tolist()))
        return np.zeros((len(inputs["tokens"]), 1), np.float32)

    def new_cache(self, rows):
        return Rows(rows)

    def read(self, cache, inputs):
        self.calls.append(inputs["tokens"].tolist())
        for row, tokens in zip(cache.rows, inputs["tokens"].tolist(), strict=False):
            row += tokens
        return np.array([[len(row)] for row in cache.rows[: len(inputs["tokens"])]], np.float32)


class Rows:
    def __init__(self, rows):
        self.rows = [[] for _ in range(rows)]

    def copy_row(self, row, other, source):
        self.rows[row] = list(other.rows[source])

    def take_back(self, row, count):
        del self.rows[row][len(self.rows[row]) - count :]

    def clear(self, row):
        self.rows[row] = []


class Seen(Written):
    """A network that also says which regimes it has read last at each token."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def read(self, cache, inputs):
        self.seen |= dict(zip(inputs["tokens"][0].tolist(), inputs["regime"][0].tolist(), strict=True))
        return super().read(cache, inputs)

    def regimes(self, context):
        return [self.seen[token] for token in context.cache.rows[0]]


def tokens(first, last):
    return {"tokens": np.arange(first, last), "regime": np.arange(first, last) % 7}


def read(context):
    return sum(1 for _ in context.read())


SLIDING, FIXED = MODELS["by time"], MODELS["learned"]


@pytest.mark.parametrize(("length", "sizes"), [(1, [1]), (2, [2]), (33, [33]), (34, [32, 2]), (70, [32, 32, 6])])
def test_blocks_and_the_rest_are_read_and_the_rest_again_with_what_follows(length, sizes):
    network = Written()
    context = MarketContext(network, SLIDING)
    context.extend(tokens(0, length))
    assert context.logits_V is None and read(context) == len(sizes) and read(context) == 0
    assert [len(call[0]) for call in network.calls] == sizes
    assert context.cache.rows == [list(range(length))] and context.logits_V == [length]
    context.extend(tokens(length, length + 1))
    assert context.logits_V is None
    read(context)
    begin = BLOCK * max((length - 1) // BLOCK, 0)
    assert network.calls[-1] == [list(range(begin, length + 1))] and context.cache.rows == [list(range(length + 1))]


def test_blocks_are_read_ahead_and_the_rest_is_not():
    network = Written()
    context = MarketContext(network, SLIDING)
    context.extend(tokens(0, 70))
    assert sum(1 for _ in context.read_blocks()) == 2 and context.logits_V is None
    assert read(context) == 1
    assert sum(1 for _ in context.read_blocks()) == 0 and context.cache.rows == [list(range(70))]


@pytest.mark.parametrize("cuts", [(), (95, 96, 97), range(1, 260, 7)])
def test_a_full_context_begins_anew_with_its_newer_half_wherever_the_calls_end(cuts):
    network = Written()
    context = MarketContext(network, FIXED)
    edges = [0, *cuts, 260]
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        context.extend(tokens(first, last))
        read(context)
    assert FIXED.max_seq_length == 96  # 260 = 96 + 3 * 48 + 20
    assert context.length == 68 and context.cache.rows == [list(range(192, 260))]


def test_positions_far_out_begin_anew_as_well(monkeypatch):
    monkeypatch.setattr(contexts, "FARTHEST", 200)
    context = MarketContext(Written(), SLIDING)
    for first in range(0, 230, 10):
        context.extend(tokens(first, first + 10))
        read(context)
    assert context.length == 126 and context.cache.rows == [list(range(104, 230))]


def test_a_context_begins_with_the_token_of_its_regime():
    context = MarketContext(Written(), MODELS["prefix"])
    context.extend(tokens(3, 103))
    read(context)
    assert context.cache.rows == [[REGIME_BASE + 51 % 7, *range(52, 103)]]  # 48 of 96, and four more


@pytest.mark.parametrize("length", [1, 2, 3, 5, 33, 34, 35, 66, 67, 150])
@pytest.mark.parametrize("model", [SLIDING, FIXED])
def test_what_is_corrected_is_read_again_in_the_same_blocks(length, model):
    def at(corrected):
        return {"tokens": np.arange(length), "regime": np.where(np.arange(length) < length - 3, 0, corrected)}

    networks = Seen(), Seen()
    late, early = (MarketContext(network, model) for network in networks)
    late.extend(at(1))
    read(late)
    late.correct(3, {"regime": np.array([2])})
    early.extend(at(2))
    read(late), read(early)
    assert late.cache.rows == early.cache.rows and late.length == early.length
    assert networks[0].regimes(late) == networks[1].regimes(early)


def test_a_copy_goes_on_by_itself():
    context = MarketContext(Written(), SLIDING)
    context.extend(tokens(0, 40))
    read(context)
    twin = context.copy()
    context.extend(tokens(40, 80))
    read(context)
    assert twin.length == 40 and twin.cache.rows == [list(range(40))] and twin.logits_V == [40]
    twin.extend(tokens(90, 91))
    read(twin)
    assert twin.cache.rows == [[*range(40), 90]] and context.cache.rows == [list(range(80))]


def test_full_paths_begin_anew_with_their_own_tokens():
    network = Written()
    market = MarketContext(network, FIXED)
    market.extend(tokens(0, 90))
    paths = PathContexts(market, paths=2)
    for step in range(6):
        assert not paths.full
        paths.note({name: np.array([[100 + step], [200 + step]]) for name in ("tokens", "regime")})
    assert paths.full
    fresh = paths.begin_anew()
    for path, context in enumerate(fresh):
        read(context)
        assert context.cache.rows == [[*range(48, 90), *range(100 * path + 100, 100 * path + 106)]]
    assert paths.length == 48 and not paths.full


def test_rows_in_use_are_the_first_ones_whoever_leaves():
    network = Written()
    pool = RowPool(network, rows=6)
    market = MarketContext(network, SLIDING)
    market.extend(tokens(0, 2))
    read(market)
    for owner, count in (("a", 2), ("b", 1), ("c", 2)):
        pool.grant(owner, count)
        for path in range(count):
            pool.fill(owner, path, market)
    step = {"b": [[30]], "a": [[10], [11]], "c": [[40], [41]]}
    found = pool.step({owner: {"tokens": np.array(value)} for owner, value in step.items()})
    assert network.calls[-1] == [[10], [11], [30], [40], [41]]
    assert {owner: logits.tolist() for owner, logits in found.items()} == {"b": [[3]], "a": [[3]] * 2, "c": [[3]] * 2}
    pool.release("a")
    assert pool.used == 3 and pool.free == 3
    assert sorted(pool.rows_of("b") + pool.rows_of("c")) == [0, 1, 2] and pool.rows_of("a") == []
    held = pool._cache.rows
    assert [held[row] for row in pool.rows_of("c")] == [[0, 1, 40], [0, 1, 41]]
    assert [held[row] for row in pool.rows_of("b")] == [[0, 1, 30]]
    pool.release("c")
    pool.release("nobody")
    assert pool.used == 1 and [held[row] for row in pool.rows_of("b")] == [[0, 1, 30]]


def test_trials_are_read_from_the_context_on():
    network = Written()
    context = MarketContext(network, FIXED)
    context.extend(tokens(0, 40))
    read(context)
    trials = Trials(context)
    trials.read({"tokens": np.array([[100], [200]])})
    trials.read({"tokens": np.array([[101], [201]])})
    assert network.looks == [(list(range(40)), [[100], [200]]), (list(range(40)), [[100, 101], [200, 201]])]
    assert context.cache.rows == [list(range(40))] and context.logits_V == [40]


def test_trials_of_a_context_that_is_almost_full_begin_with_its_newer_half():
    network = Written()
    context = MarketContext(network, FIXED)
    context.extend(tokens(0, 90))
    read(context)
    Trials(context).read({"tokens": np.array([[100]])})
    assert network.looks == [(list(range(42, 90)), [[100]])] and context.length == 90
    slides = MarketContext(network, SLIDING)
    slides.extend(tokens(0, 90))
    read(slides)
    Trials(slides).read({"tokens": np.array([[100]])})
    assert network.looks[1][0] == list(range(90))


def test_models_with_relative_positions_slide():
    assert contexts.limits_of(SLIDING) == (1 << 20, 96) and contexts.limits_of(FIXED) == (96, 48)
    assert contexts.limits_of(dataclasses.replace(SLIDING, positions="sinusoidal")) == (96, 48)
