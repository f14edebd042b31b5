"""Predictions of the next event are the probabilities with which generation draws it, without drawing."""

import dataclasses
import math

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Kind
from lob_jax.generation.host import exact
from lob_jax.generation.host.continuation import scores_of
from lob_jax.generation.host.given import given_of
from lob_jax.generation.host.loop import sampled
from lob_jax.generation.host.start import start_paths
from lob_jax.generation.prompt import ANY_SIZES, book_room
from lob_jax.generation.settings import SamplingConfig
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.numbers import code_range
from tests.generation.host.test_paths import RANKED
from tests.generation.market import INSTRUMENT, MODEL, TOKENIZER
from tests.serving.predict.listening import BOOK, FIRST, MASKED, Network, chances, masks_after, prediction, prompt_of

MODELS = {"book": MASKED, "none": MODEL}


def expected_heads(network, *, kinds_first=False):
    return chances(network.after(FIRST), *masks_after([], TOKENIZER), kinds_first=kinds_first)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_heads_have_the_probabilities_of_the_sampler(model):
    network = Network()
    found = prediction(network, prompt_of(), model=model, heads=0, most=v.VOCAB_SIZE)
    expected_V = expected_heads(network, kinds_first=model is MODEL)
    heads = [(one.kind, one.code, one.side, one.probability) for one in found.heads]
    assert len(heads) == np.count_nonzero(expected_V) > 1_000
    order = np.argsort(-expected_V, kind="stable")[: len(heads)]
    np.testing.assert_allclose([chance for *_, chance in heads], expected_V[order], rtol=1e-5)
    for token, (kind, code, side, _) in zip(order.tolist(), heads, strict=True):
        low = token % v.CLASS_SIZE
        if token < v.CLASS_SIZE:
            assert (kind, code, side) == (Kind.CONTROL, low - v.CONTROL_BASE, 0)
        else:
            assert (kind, code, side) == (token // v.CLASS_SIZE, Code.NONE, 1 if low < v.ASK_OFFSET else -1)
    sums = {(kind, side): 0.0 for kind, side, _ in found.kinds}
    for kind, _, side, chance in heads:
        sums[kind, side] += chance
    assert len(sums) == 13
    np.testing.assert_allclose([chance for *_, chance in found.kinds], list(sums.values()), rtol=1e-9)
    assert math.isclose(found.entropy_bits, -sum(p * math.log2(p) for *_, p in heads), rel_tol=1e-9)
    assert not network.read and found.moves is None


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_generation_draws_heads_as_often(model):
    prompt, network = prompt_of(), Network(raised=[(token, 5) for token in (1000, 1501, 3000, 4500, 2000)])
    room = book_room(prompt.book)
    counts_V, times = np.zeros(v.VOCAB_SIZE), 40
    for seed in range(times):
        sampling = SamplingConfig(paths=300, events=1, seed=seed)
        paths = start_paths([prompt], TOKENIZER, sampling, levels=room["places"] + 2)
        given = given_of(prompt, TOKENIZER, INSTRUMENT, sampling, model, room=room)
        exact.begin(paths, given)
        exact.advance(paths, given, *scores_of(np.tile(network.after(FIRST), (300, 1)), 1.0))
        counts_V += np.bincount(paths.token, minlength=v.VOCAB_SIZE)
    mean_V = expected_heads(network, kinds_first=model is MODEL) * times * 300
    often = mean_V >= 8
    cells, means = np.append(counts_V[often], counts_V[~often].sum()), np.append(mean_V[often], mean_V[~often].sum())
    freedom = len(cells) - 1
    assert freedom > 50 and ((cells - means) ** 2 / means).sum() < freedom + 4 * math.sqrt(2 * freedom)


def reference(network, tokenizer, head):
    """Return the probabilities of sizes [1000] and of gaps [1001], the last of them TIME_SKIP, after a head."""
    tokens, found = [head], []
    for wanted in (np.r_[v.SIZE : v.TIME], np.r_[v.TIME : v.VOCAB_SIZE, v.TIME_SKIP]):
        while True:
            chance_V = chances(network.after(tokens[-1]), *masks_after(tokens, tokenizer))
            if chance_V[wanted].sum() >= 0.5:
                break
            tokens.append(int(np.delete(np.arange(v.VOCAB_SIZE), wanted)[np.delete(chance_V, wanted).argmax()]))
        found.append(chance_V[wanted] / chance_V[wanted].sum())
        tokens.append(int(wanted[found[-1].argmax()]))
    return found, tokens[:-1]


def assert_distribution(found, chance_N, lows, highs):
    order = [at for at in np.argsort(-chance_N, kind="stable")[:5].tolist() if chance_N[at] > 0]
    assert [row[:2] for row in found.likeliest] == [(lows[at], highs[at]) for at in order]
    np.testing.assert_allclose([chance for *_, chance in found.likeliest], chance_N[order], rtol=1e-5)
    for level, value in found.quantiles:
        at = lows.index(value)
        assert chance_N[:at].sum() <= level + 1e-6 and level <= chance_N[: at + 1].sum() + 1e-6
    assert [level for level, _ in found.quantiles] == [0.05, 0.25, 0.5, 0.75, 0.95]


RANGES = [code_range(code) for code in range(v.CLASS_SIZE)]
SIZES = tuple(list(column) for column in zip(*((low, high) for low, high, _ in RANGES), strict=True))
GAPS = (
    [low for low, *_ in RANGES] + [10**12],
    [low + (10 ** min(more, 3) - 1) * 10 ** max(more - 3, 0) for low, _, more in RANGES] + [10**15 - 1],
)
DIGITS = [(token, 3.0) for token in range(v.CONTINUATION, v.SIZE)]
FAR = 1000 + v.ASK_OFFSET + 150  # ADD ask 15·10 ticks deeper, and perhaps some more
CASES = {
    "near": (TOKENIZER, [(3000, 9), (1500, 8), (4000, 8)]),
    "far": (TOKENIZER, [(FAR, 12), (2000, 9), (3500, 9), *DIGITS]),
    "rank": (RANKED, [(3000, 12), (3500, 11), (2500, 10), *DIGITS]),
    "skips": (TOKENIZER, [(3000, 9), (1500, 8), (4000, 8), (v.TIME_SKIP, 9)]),
}


@pytest.mark.parametrize("case", CASES)
def test_sizes_and_times_follow_their_heads(case):
    tokenizer, raised = CASES[case]
    network = Network(raised=raised, spread=1.0)
    chance_V = expected_heads(network)
    best = np.argsort(-chance_V)[:3].tolist()
    found = prediction(network, prompt_of(tokenizer), tokenizer=tokenizer, heads=3)
    assert {token for token, _ in raised[:3]} == set(best)
    longest = 0
    for head, token in zip(found.heads, best, strict=False):
        (size_K, gap_K), tokens = reference(network, tokenizer, token)
        assert_distribution(head.size, size_K, *SIZES)
        assert_distribution(head.gap_ns, gap_K, *GAPS)
        longest = max(longest, len(tokens))
    assert len(network.read) == longest and (longest > 2) == (case in ("far", "rank"))
    assert all(head.size is None and head.gap_ns is None for head in found.heads[3:]) and len(found.heads) == 20
    for inputs in network.read:
        assert {leaf.shape[:2] for leaf in inputs.values()} == {(3, 1)}


class Decoder:
    """The network as generation calls it."""

    slots = MODEL.max_seq_length

    def __init__(self, network):
        self.network = network

    def reset(self, rows):
        self.rows = rows

    def extend(self, inputs):
        first = inputs["tokens"].shape[1] > 1
        return np.tile(self.network.after(FIRST), (self.rows, 1)) if first else self.network(inputs)


@pytest.mark.parametrize("head", [FAR, 2000, 3500])
def test_the_network_reads_what_it_reads_in_generation(head):
    """Where one event is all but certain, generation writes that event."""
    raised = [(head, 200), (v.CONTINUATION + 700, 120), (8012, 40), (8020, 41)]
    network, prompt = Network(raised=raised), prompt_of()
    prediction(network, prompt, heads=2)
    read, network.read = network.read, []
    how = {"model": MASKED, "tokenizer": TOKENIZER, "instrument": INSTRUMENT}
    for _ in sampled(Decoder(network), [prompt], **how, sampling=SamplingConfig(paths=1, events=1, seed=0)):
        pass
    assert [inputs["tokens"][0, 0] for inputs in read][0] == head and len(read) >= 2
    for mine, theirs in zip(read, network.read, strict=False):
        assert set(mine) == set(theirs) > {"flow", "queue", "anchors", "latest", "clock"}
        for name, leaf in mine.items():
            assert leaf.dtype == theirs[name].dtype
            np.testing.assert_array_equal(leaf[0], theirs[name][0], err_msg=name)


def test_rows_that_need_no_more_read_padding_and_controls_have_no_numbers():
    halt = v.CONTROL_BASE + Code.HALT
    network = Network(raised=[(halt, 30), (FAR, 20), (4000, 15), *DIGITS], spread=1.0)
    found = prediction(network, prompt_of(), heads=4)
    assert (found.heads[0].kind, found.heads[0].code) == (Kind.CONTROL, Code.HALT)
    assert (found.heads[0].size, found.heads[0].gap_ns, found.heads[0].price) == (None, None, (0, 0))
    assert all(head.size is not None for head in found.heads[1:4])
    tokens_TB = np.concatenate([inputs["tokens"] for inputs in network.read], 1).T
    assert tokens_TB[0].tolist()[:2] == [FAR, 4000] and tokens_TB[0, 3] == v.PAD and tokens_TB.shape[1] == 4
    ended_TB = tokens_TB == v.PAD
    assert ended_TB[-1].sum() > ended_TB[0].sum() and (np.diff(ended_TB.astype(int), axis=0) >= 0).all()


def test_sizes_are_limited_to_those_of_training_as_in_generation():
    network, largest = Network(raised=[(1000, 20)]), ANY_SIZES.copy()
    largest[Kind.ADD] = 7
    (head,) = prediction(network, prompt_of(largest=largest), heads=1, most=1).heads
    assert head.kind == Kind.ADD and max(high for _, high, _ in head.size.likeliest) <= 7
    assert head.size.quantiles[-1][1] <= 7
    (head,) = prediction(network, prompt_of(), heads=1, most=1).heads
    assert head.size.quantiles[-1][1] > 7


def test_a_prompt_without_tokens_is_refused():
    prompt = prompt_of()
    nothing = {name: leaf[:0] for name, leaf in prompt.known_T.items()}
    with pytest.raises(InputError, match="the prompt is empty"):
        prediction(Network(), dataclasses.replace(prompt, tokens_T=prompt.tokens_T[:0], known_T=nothing))


def test_the_prompt_is_left_as_it_is():
    prompt = prompt_of()
    before = prompt.book.size.copy()
    one, other = (prediction(Network(), prompt) for _ in range(2))
    assert one == other and np.array_equal(prompt.book.size, before) and np.array_equal(before, BOOK.size)
