"""Several prompts in one batch: each path continues its own, and none depends on the others."""

import dataclasses

import jax
import numpy as np
import pytest

from lob_jax.book.day import MarketDay
from lob_jax.errors import InputError
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.generation import loop
from lob_jax.generation.context import prompt_window
from lob_jax.generation.loop import generate
from lob_jax.generation.settings import Order
from lob_jax.generation.start import start_paths
from lob_jax.generation.stream import stream
from lob_jax.tokens.vocabulary import PAD
from tests.generation.market import COMPACT, INSTRUMENT, KINDS, MODEL, SAMPLING, START, TOKENIZER, lively, prompt

EVENTS = (2, 4, 3)  # events of the prompts, of three tokens each


def prompts(model=MODEL):
    """Return prompts of unequal lengths, each with a book, a clock and tokens of its own."""
    return [_prompt(number, events, model) for number, events in enumerate(EVENTS)]


def _prompt(number, events, model):
    start = dataclasses.replace(START, price=START.price + 300 * number, time_ns=START.time_ns + 10**9 * number)
    one, times = prompt(model, start), -(-events // 2)
    tokens = np.tile(one.tokens_T, times)[: 3 * events] + np.array([0, number, 0] * events, np.int32)
    known = {name: np.concatenate([values] * times)[: 3 * events] for name, values in one.known_T.items()}
    known |= {"event": np.repeat(np.arange(events), 3), "book": np.full((3 * events, 12), 0.1 * number, np.float32)}
    return dataclasses.replace(one, tokens_T=tokens, known_T=known, clock_ns=start.time_ns, number=number)


def run(params, given, *, model=MODEL, tokenizer=TOKENIZER, **changes):
    sampling = dataclasses.replace(SAMPLING, **{"paths": 2, **changes})
    how = {"model": model, "tokenizer": tokenizer, "instrument": INSTRUMENT, "sampling": sampling}
    return generate(params, given, **how)


@pytest.fixture(scope="module")
def params():
    return lively(MODEL)


@pytest.fixture(scope="module")
def watched(params):
    """Return the paths of all prompts, and the first window of the loop with its length."""
    windows, extend = [], loop.extend

    def spy(*arguments, **keywords):
        state = extend(*arguments, **keywords)
        windows.append((jax.tree.map(np.asarray, state.window), int(state.cache.length)))
        return state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "extend", spy)
        return run(params, prompts()), *windows[0]


@pytest.fixture(scope="module")
def together(watched):
    return watched[0]


@pytest.mark.slow
def test_every_path_is_valid_on_the_book_of_its_own_prompt(together):
    starts = [one.start for one in prompts() for _ in range(2)]
    rows = zip(starts, together.tokens, together.levels, together.clock_ns, strict=True)
    for start, tokens, levels, clock_ns in rows:
        events = TOKENIZER.decode(tokens, MarketDay.opening(INSTRUMENT, start))
        found = check_events(events, start=start, tick=INSTRUMENT.tick)
        assert (found.events, found.faults, found.levels) == (SAMPLING.events, {}, levels)
        assert int(events.time_ns[-1]) == clock_ns


@pytest.mark.slow
def test_a_prompt_by_itself_has_the_paths_that_it_has_among_others(params, together):
    """Also the longest prompt, of which a part is read in the loop; its path outgrows the context."""
    alone = run(params, prompts()[1])
    assert min(len(tokens) for tokens in alone.tokens) > MODEL.max_seq_length
    for path in range(2):
        np.testing.assert_array_equal(together.tokens[2 + path], alone.tokens[path])
        np.testing.assert_array_equal(together.own[2 + path], alone.own[path])
    assert together.levels[2:4] == alone.levels
    np.testing.assert_allclose(together.grammar_mass[2:4], alone.grammar_mass, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tokenizer"), [("rotary", TOKENIZER), ("prefix", TOKENIZER), ("horizons", TOKENIZER), ("rotary", COMPACT)]
)
def test_a_prompt_by_itself_for_every_kind_of_context(kind, tokenizer):
    model = KINDS[kind]
    params, events = lively(model), 20 if tokenizer is TOKENIZER else 60
    how = {"model": model, "tokenizer": tokenizer, "events": events, "paths": 1}
    batch = run(params, prompts(model), **how)
    for number, one in enumerate(prompts(model)):
        np.testing.assert_array_equal(batch.tokens[number], run(params, one, **how).tokens[0])


@pytest.mark.slow
def test_prompts_over_devices_are_those_of_one_device(params):
    """30 paths use one device, and 48 use three; which device a path is on does not depend on its prompt."""
    one, three = run(params, prompts(), paths=10, events=12), run(params, prompts(), paths=16, events=12)
    for number in range(3):
        for path in range(10):
            np.testing.assert_array_equal(one.tokens[10 * number + path], three.tokens[16 * number + path])


@pytest.mark.slow
def test_the_context_of_a_path_is_its_prompt_and_then_what_it_wrote(watched):
    found, window, length = watched
    for path, tokens in enumerate(found.tokens):
        one = prompts()[path // 2]
        end = len(one.tokens_T)
        np.testing.assert_array_equal(window.tokens_BT[path, :end], one.tokens_T)
        np.testing.assert_array_equal(window.tokens_BT[path, end:length], tokens[: length - end])
        for name, values in one.known_T.items():
            np.testing.assert_array_equal(window.known[name][path, :end], values, err_msg=name)
        assert window.known["event"][path, end] == EVENTS[path // 2]


def test_prompts_of_one_length_leave_nothing_to_read():
    window, rest = prompt_window(prompts()[:1] * 2, 2, MODEL.max_seq_length)
    assert rest is None and window.tokens_BT.shape == (4, 6)
    window, rest = prompt_window(prompts(), 2, MODEL.max_seq_length)
    assert window.tokens_BT.shape == (6, 6) and rest.count_B.tolist() == [0, 0, 6, 6, 3, 3]
    np.testing.assert_array_equal(rest.window.tokens_BT[2], prompts()[1].tokens_T[6:])
    np.testing.assert_array_equal(rest.window.tokens_BT[4, 3:], PAD)
    window, rest = prompt_window(prompts(), 1, 7)
    np.testing.assert_array_equal(window.tokens_BT[1], prompts()[1].tokens_T[-7:][:6])
    assert rest.count_B.tolist() == [0, 1, 1]


def test_no_two_paths_share_random_numbers():
    sampling = dataclasses.replace(SAMPLING, paths=4)
    paths, _ = start_paths(prompts(), TOKENIZER, INSTRUMENT, sampling)
    numbers = np.asarray(loop.numbers_of(paths))
    assert len(np.unique(numbers)) == numbers.size == 36
    first, _ = start_paths([prompt()], TOKENIZER, INSTRUMENT, sampling)
    np.testing.assert_array_equal(loop.numbers_of(first), numbers[:4])  # as without other prompts
    root = jax.random.key(sampling.seed)
    expected = [jax.random.fold_in(root, path) for path in range(4)]
    assert [jax.random.key_data(key).tolist() for key in first.key] == [
        jax.random.key_data(k).tolist() for k in expected
    ]


@pytest.mark.slow
def test_a_stream_gives_the_paths_of_every_prompt(params, together, monkeypatch):
    monkeypatch.setattr(loop, "PIECE", 2)  # fewer than the tokens that are still to be read
    how = {"model": MODEL, "tokenizer": TOKENIZER, "instrument": INSTRUMENT}
    parts = list(stream(params, prompts(), sampling=dataclasses.replace(SAMPLING, paths=2), **how))
    for path, tokens in enumerate(together.tokens):
        start = prompts()[path // 2].start
        whole = TOKENIZER.decode(tokens, MarketDay.opening(INSTRUMENT, start))
        for name in ("time_ns", "kind", "side", "price", "size"):
            np.testing.assert_array_equal(
                np.concatenate([getattr(part[path].events, name) for part in parts]), getattr(whole, name)
            )


def test_what_cannot_be_told_apart_is_refused(params):
    with pytest.raises(InputError, match="share their random numbers"):
        run(params, [prompt(), prompt()])
    with pytest.raises(InputError, match="there is no prompt"):
        run(params, [])
    with pytest.raises(InputError, match="of one prompt"):
        run(params, prompts(), inject=(Order(1, 5, after_events=0),))
