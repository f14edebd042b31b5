"""With compact tokens, the probabilities of tokens are added up, and nothing more is asked of the network."""

import math

import numpy as np

from lob_jax.events.schema import Kind
from lob_jax.generation.host import compact
from lob_jax.generation.host.given import drawable, given_of
from lob_jax.generation.host.start import start_paths
from lob_jax.generation.prompt import book_room
from lob_jax.generation.settings import SamplingConfig
from lob_jax.tokens import vocabulary as v
from tests.generation.host.along import allowed_in
from tests.generation.market import COMPACT, INSTRUMENT
from tests.serving.predict.listening import FIRST, MASKED, Network, chances, prediction, prompt_of


def expected(network, prompt):
    """Return the probability of each token by its definition."""
    sampling = SamplingConfig(paths=1, events=1, seed=0)
    room = book_room(prompt.book)
    paths = start_paths([prompt], COMPACT, sampling, levels=room["places"] + 2)
    given = given_of(prompt, COMPACT, INSTRUMENT, sampling, MASKED, room=room)
    compact.begin(paths, given)
    grammar_V = COMPACT.grammar.allowed[COMPACT.grammar.start] & drawable("compact")
    return chances(network.after(FIRST), grammar_V, allowed_in(paths, given)[0])


def test_heads_sizes_and_times_are_sums_over_tokens():
    network, prompt = Network(raised=[(11, 8), (21, 8)], spread=1.0), prompt_of(COMPACT)
    found = prediction(network, prompt, tokenizer=COMPACT, heads=150, most=150)
    chance_V = expected(network, prompt)
    heads, sizes, gaps = {}, {}, {}
    for token in np.flatnonzero(chance_V).tolist():
        kind, low = divmod(token, v.CLASS_SIZE)
        key = (7, token % 10) if kind == 0 else (kind, low // 50)
        heads[key] = heads.get(key, 0) + chance_V[token]
        sizes.setdefault(key, np.zeros(10))[low // 5 % 10] += chance_V[token]
        gaps.setdefault(key, np.zeros((10, 5)))[low // 5 % 10, low % 5] += chance_V[token]
    order = sorted(heads, key=lambda key: -heads[key])
    assert len(found.heads) == len(order) > 50 and not network.read
    assert math.isclose(found.entropy_bits, -sum(p * math.log2(p) for p in heads.values()), rel_tol=1e-6)
    assert math.isclose(sum(chance for *_, chance in found.kinds), 1, rel_tol=1e-9)
    for head, key in zip(found.heads, order, strict=True):
        assert math.isclose(head.probability, heads[key], rel_tol=1e-5)
        if head.kind == Kind.CONTROL:
            assert (head.kind, head.code, head.size) == (*key, None)
            continue
        assert (head.kind, head.side) == (key[0], 1 if key[1] < 10 else -1)
        row, size_S = key[0] - 1, sizes[key] / heads[key]
        best = int(size_S.argmax())
        edges, gap_G = COMPACT.bins.size_edges[row], gaps[key][best] / gaps[key][best].sum()
        assert head.size.likeliest[0][:2] == (edges[best], edges[best + 1] - 1)
        np.testing.assert_allclose(head.size.likeliest[0][2], size_S[best], rtol=1e-5)
        best = int(gap_G.argmax())
        assert head.gap_ns.likeliest[0][:2] == (COMPACT.bins.gap_edges[best], COMPACT.bins.gap_edges[best + 1] - 1)
        np.testing.assert_allclose(head.gap_ns.likeliest[0][2], gap_G[best], rtol=1e-5)
        assert {value for _, value in head.gap_ns.quantiles} <= set(COMPACT.bins.gap_values[row])


def test_further_heads_have_no_numbers():
    found = prediction(Network(), prompt_of(COMPACT), tokenizer=COMPACT, heads=2, most=6)
    assert [head.size is None for head in found.heads] == [False, False, True, True, True, True]
