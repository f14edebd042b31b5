import dataclasses

import numba
import numpy as np
import pytest

from lob_jax.counts.contexts import Samples
from lob_jax.counts.levels import mix
from lob_jax.counts.ngram import fit_chain
from lob_jax.counts.tables import build_tables, hash_contexts, spread

SYMBOLS = 5


@numba.njit
def spread_here(tables, chain, start, items, p):
    return spread(tables, chain, start, items, p)


def samples(seed, count):
    """Two items and a symbol that depends on both, with their contexts."""
    rng = np.random.default_rng(seed)
    items = rng.integers(-1, 4, (count, 3))
    told, half, drawn = (
        (items[:, 2] + 2 * items[:, 0]) % SYMBOLS,
        items[:, 2] % SYMBOLS,
        rng.integers(0, SYMBOLS, count),
    )
    symbol = np.choose(rng.choice(3, count, p=[0.4, 0.4, 0.2]), [told, half, drawn])
    context = hash_contexts(np.full(count, 7), items, np.array([2, 0]))
    return items, Samples({"": context}, symbol, np.full(count, 1 / SYMBOLS))


def test_contexts_are_hashed_one_item_after_the_other():
    items, found = samples(0, 50)
    shortest = mix(np.zeros(50, np.uint64), np.full(50, 7))
    assert np.array_equal(found.context[""][0], shortest)
    assert np.array_equal(found.context[""][2], mix(mix(shortest, items[:, 2]), items[:, 0]))


def test_the_distribution_is_that_of_the_chain():
    _, train = samples(1, 300)
    items, held = samples(2, 200)
    chain = fit_chain(train, held, "", orders=(1, 2), discounts=(0.1, 0.5, 0.9))
    assert len(chain.levels) == 3
    _, other = samples(3, 40)
    empty = fit_chain(other, other, "", orders=(), discounts=(0.5,))
    tables = build_tables([([], empty.levels, other.symbol), ([2, 0], chain.levels, train.symbol)])
    by_symbol = [chain.probability(dataclasses.replace(held, symbol=np.full(200, symbol))) for symbol in range(SYMBOLS)]
    depths = []
    for i in range(200):
        p = np.full(SYMBOLS, 1 / SYMBOLS)
        depths.append(spread_here(tables, 1, 7, items[i], p))
        assert p == pytest.approx([one[i] for one in by_symbol], abs=1e-12)
        assert p.sum() == pytest.approx(1, abs=1e-12)
    assert max(depths) == 2
    p = np.full(SYMBOLS, 1 / SYMBOLS)
    assert spread_here(tables, 1, 8, items[0], p) == -1  # another decision: nothing was seen
    assert p.tolist() == [1 / SYMBOLS] * SYMBOLS
