import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.data.records.builder import open_records
from lob_jax.data.windows.dataset import TokenBookDataset
from lob_jax.evaluation.direction import moves
from lob_jax.evaluation.direction.moves import (
    DOWN,
    FLAT,
    UP,
    better_adds,
    branch_mask,
    branch_probabilities,
    make_branches,
    move_parts,
    predict_moves,
    record_moves,
    slots_needed,
    spell,
)
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.grammar import grammar_for

GRAMMAR = grammar_for(None)


@pytest.fixture(autouse=True)
def two_events_a_forward(monkeypatch):
    monkeypatch.setattr(moves, "EVENTS_A_FORWARD", 2)


def test_sizes_are_spelled_as_events_spell_them():
    assert spell(7) == (8007,)
    assert spell(100) == (8000 + 10 + 90,)
    assert spell(105) == (8000 + 10 + 90, 7500)
    assert spell(1005) == (8000 + 10 + 180, 7050)
    assert slots_needed(np.array([[7, 100], [1005, 0]])) == 3


def test_branches_of_one_event():
    branches = make_branches(np.array([[1005, 0]]), GRAMMAR, slots=4)
    chain = [8190, 7050, v.PAD]
    assert branches.tokens[0, :3].tolist() == [[2000, *chain], [3000, *chain], [4000, *chain]]
    assert branches.tokens[0, 3:, :2].tolist() == [[2500, 8000], [3500, 8000], [4500, 8000]]
    assert branches.length.tolist() == [[3, 3, 3, 2, 2, 2]]
    assert branches.exists.tolist() == [[True] * 3 + [False] * 3]
    assert not branches.goes_on.any()  # 1005 has no more digits to give, 0 neither
    assert make_branches(np.array([[100, 1000]]), GRAMMAR, slots=4).goes_on.all()  # could be 105, 1001


def test_the_mask_against_a_literal_matrix():
    expected = """
        x . . . . . . . . . .
        x x . . . . . . . . .
        x x x . . . . . . . .
        x . . x . . . . . . .
        x . . x x . . . . . .
        x . . . . x . . . . .
        x . . . . x x . . . .
        x x . . . . . x . . .
        x x . . . . . x x . .
        x x . . . . . . . x .
        x x . . . . . . . x x"""
    rows = [[mark == "x" for mark in row.split()] for row in expected.strip().splitlines()]
    assert np.asarray(branch_mask(3, jnp.array([1, 2]), chains=2, slots=2)).tolist() == rows


def test_which_heads_add_better_than_the_best():
    bid, ask = (set(np.flatnonzero(better_adds(side)).tolist()) for side in (0, 1))
    assert bid == {*range(1280, 1469), *range(1479, 1490)}
    assert ask == {token + 500 for token in bid}
    assert v.describe(1280).endswith("1 tick better")
    assert v.describe(1479).endswith("better")
    assert v.describe(1478).endswith("deeper")


def test_moves_of_a_record_replayed_by_hand(folder, day):
    record = open_records(folder, "validation")[0]
    moves = record_moves(record, ExactTokenizer())
    first = int(record["first_event"])
    level = {1: {9_900: 100}, -1: {10_100: 1_005}}
    for index in range(first + len(moves.label)):
        best = {side: max(level[side], key=lambda price, side=side: price * side) for side in (1, -1)}
        mid = sum(best.values())
        sizes = [level[1][best[1]], level[-1][best[-1]]]
        kind, side, price, size = (int(getattr(day.events, n)[index]) for n in ("kind", "side", "price", "size"))
        if kind <= 4:
            level[side][price] = level[side].get(price, 0) + (size if kind == 1 else -size)
            level[side] = {price: left for price, left in level[side].items() if left}
        after = max(level[1]) + min(level[-1])
        if index >= first:
            row = index - first
            assert moves.best_size[row].tolist() == sizes
            assert moves.label[row] == (UP if after > mid else DOWN if after < mid else FLAT)
            assert moves.own[row] == (row >= record["lead_events"])
            assert moves.known[row]
            if row + 1 < len(moves.label):
                assert moves.action[row + 1] == 2 * kind + (side < 0)
    assert set(moves.label) == {DOWN, FLAT, UP}


@functools.partial(jax.jit, static_argnames="config")
def forward(config, params, tokens, conditioning):
    return jax.nn.softmax(LOBTransformer(config).apply({"params": params}, tokens, conditioning), axis=-1)


def fed(config, params, window, head_at, chains):
    """Next-token probabilities after each token of the prefix and a chain, fed as plain sequences, one a chain."""
    tokens = np.full((len(chains), 32), v.PAD, np.int32)
    tokens[:, :head_at] = window["tokens"][:head_at]
    for row, chain in enumerate(chains):
        tokens[row, head_at : head_at + len(chain)] = chain
    read = ("time_of_day", "day_of_week", "book")
    known = {name: window[name][np.minimum(np.arange(32), head_at)] for name in read}
    conditioning = {name: jnp.stack([array] * len(chains)) for name, array in known.items()}
    return np.asarray(forward(config, params, tokens, conditioning), np.float64)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_branch_probabilities_equal_feeding_the_sequence(folder, tiny, positions):
    config, params = tiny(positions)
    source = open_records(folder, "test")
    moves = record_moves(source[0], ExactTokenizer())
    window = TokenBookDataset(source, context=29, time_buckets=288, evaluation=True)[2]
    rng = np.random.default_rng(0)  # what is known differs at every token, so that a wrong entry shows
    window["time_of_day"] = rng.permutation(288)[:30].astype(np.int32)
    window["book"] = rng.normal(size=(30, 8)).astype(np.float32)
    heads = np.flatnonzero(window["scored"] & (v.field_of(window["tokens"]) == v.FIELD_HEAD))[[0, -1]]
    sizes = np.array([[1, 1_005], [200, 37]])
    branches = make_branches(sizes, GRAMMAR, slots=3)
    better, removal = move_parts(config, params, window, head_at=heads, branches=branches)
    assert better.shape == (2, 2) and removal.shape == (2, 6)
    for row, head_at in enumerate(heads):
        size = [int(sizes[row, column // 3]) for column in range(6)]
        chains = [[head, *spell(size[column])] for column, head in enumerate([2000, 3000, 4000, 2500, 3500, 4500])]
        p = fed(config, params, window, head_at, chains)
        for column, chain in enumerate(chains):
            expected = np.prod([p[column, head_at - 1 + k, token] for k, token in enumerate(chain)])
            if size[column] == 200:  # the only one whose number could go on
                expected *= 1 - p[column, head_at - 1 + len(chain), 7000:8000].sum()
            assert removal[row, column] == pytest.approx(expected, rel=2e-4, abs=0), (row, column)
        at_head = p[0, head_at - 1]
        assert better[row] == pytest.approx(
            [at_head[better_adds(0)].sum(), at_head[better_adds(1)].sum()], rel=1e-4, abs=0
        )
    p_down, p_flat, p_up = branch_probabilities(config, params, window, head_at=heads, branches=branches).T
    assert p_up == pytest.approx(better[:, 0] + removal[:, 3:].sum(1))
    assert p_down == pytest.approx(better[:, 1] + removal[:, :3].sum(1))
    assert p_down + p_flat + p_up == pytest.approx(1)
    assert moves.known.all()


def test_predictions_see_nothing_of_their_event_or_later_ones(folder, tiny):
    config, params = tiny("rotary")
    window = TokenBookDataset(open_records(folder, "test"), context=29, time_buckets=288, evaluation=True)[2]
    head_at = np.flatnonzero(window["scored"] & (v.field_of(window["tokens"]) == v.FIELD_HEAD))[1:2]
    branches = make_branches(np.array([[100, 5]]), GRAMMAR, slots=3)
    changed = {name: array.copy() for name, array in window.items()}
    changed["tokens"][head_at[0] :] = 1234
    for name in ("book", "time_of_day"):
        changed[name][head_at[0] + 1 :] = 3
    one, other = (
        branch_probabilities(config, params, w, head_at=head_at, branches=branches) for w in (window, changed)
    )
    assert one.tolist() == other.tolist()


def test_a_removal_from_an_empty_side_has_no_probability(folder, tiny):
    config, params = tiny("rotary")
    window = TokenBookDataset(open_records(folder, "test"), context=29, time_buckets=288, evaluation=True)[2]
    branches = make_branches(np.array([[0, 5]]), GRAMMAR, slots=3)
    _, removal = move_parts(config, params, window, head_at=np.array([20]), branches=branches)
    assert (removal[0, :3] == 0).all()
    assert (removal[0, 3:] > 0).all()


def test_the_first_events_are_predicted_each_once(folder, tiny):
    config, params = tiny()
    source = open_records(folder, "test")
    moves = [record_moves(source[index], ExactTokenizer()) for index in range(len(source))]
    moves[0].known[int(source[0]["lead_events"]) + 1] = False
    p, record, event = predict_moves(config, params, source=source, moves=moves, tokenizer=ExactTokenizer(), events=7)
    first = int(source[0]["lead_events"])
    assert event.tolist() == [first, *range(first + 2, first + 8)]
    assert record.tolist() == [0] * 7
    assert p.shape == (7, 3)
    assert p.sum(1) == pytest.approx(1)
