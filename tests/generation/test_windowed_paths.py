"""Paths of a feed that shows two levels: the decoded book is the device's after every event, and no side runs empty."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.replay import replay
from lob_jax.book.view import OutOfView
from lob_jax.evaluation.paths.validity import check_events
from lob_jax.events.schema import Kind
from lob_jax.generation import loop
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import path_day
from lob_jax.generation.prompt import NO_REVEALS, RevealDistribution
from lob_jax.generation.settings import Order, SamplingConfig
from lob_jax.generation.speculative import generate_speculatively
from lob_jax.generation.stream import stream
from tests.generation.market import COMPACT, INSTRUMENT, LEVELS, MODEL, START, TOKENIZER, lively, prompt, spied

WINDOW, EVENTS = 2, 30
SHOWN = dataclasses.replace(START, size=np.array([4, 3, 5, 2]), anonymous=np.ones(4, bool), window=WINDOW)
BEHIND = OutOfView(np.array([-1]), np.array([10_500]), np.array([7]))
REVEALS = RevealDistribution(
    np.array([[1, 2], [1, 3]], np.int32), np.array([[8, 5], [9, 4]], np.int32), np.array([2, 2], np.int32)
)
LONG = dataclasses.replace(MODEL, max_seq_length=128)
SAMPLING = SamplingConfig(paths=3, events=EVENTS, seed=7)
HOW = {"tokenizer": TOKENIZER, "instrument": INSTRUMENT}


def windowed(model=LONG, **changes):
    """Return the prompt with a book of two levels a side, another ask behind them, and a reveals."""
    return dataclasses.replace(prompt(model, SHOWN), **{"behind": BEHIND, "reveals": REVEALS, **changes})


def days_of(generated, tokenizer=TOKENIZER):
    each = zip(generated.tokens, generated.corrections, generated.own, strict=True)
    return [path_day(*one, start=SHOWN, tokenizer=tokenizer, instrument=INSTRUMENT) for one in each]


def checked(generated, tokenizer=TOKENIZER):
    """Return the replay of each path; it ends with the device's book and clock."""
    found = []
    for day, levels, clock in zip(days_of(generated, tokenizer), generated.levels, generated.clock_ns, strict=True):
        rules = {"start": day.start, "tick": INSTRUMENT.tick, "corrections": day.corrections}
        found.append(check_events(day.events, **rules))
        assert (found[-1].levels, int(day.events.time_ns[-1])) == (levels, clock)
    return found


@pytest.fixture(scope="module")
def watched():
    """Return the paths, and the inputs of the model at each of their tokens."""
    with pytest.MonkeyPatch.context() as patch:
        windows = spied(patch, loop)
        return generate(lively(LONG), windowed(), model=LONG, sampling=SAMPLING, **HOW), windows[-1]


@pytest.fixture(scope="module")
def generated(watched):
    return watched[0]


@pytest.mark.slow
def test_every_path_is_valid_with_its_corrections_and_keeps_both_sides_full(generated):
    for found, corrections, remembered in zip(
        checked(generated), generated.corrections, generated.remembered, strict=True
    ):
        assert (found.events, found.faults, found.emptied) == (EVENTS, {}, False)
        assert [len(side) for side in found.levels] == [WINDOW, WINDOW]
        assert 0 < remembered <= len(corrections)
    assert sum(map(len, generated.corrections)) > generated.remembered.sum()
    assert np.concatenate([one.side for one in generated.corrections]).std() > 0.5


@pytest.mark.slow
def test_the_book_that_the_model_reads_is_the_decoded_one_after_every_event(watched):
    generated, window = watched
    for path, (day, tokens) in enumerate(zip(days_of(generated), generated.tokens, strict=True)):
        assert len(tokens) + 6 <= LONG.max_seq_length
        _, row = TOKENIZER.known_rows(tokens)
        expected = replay(day, LEVELS).features()[row]
        np.testing.assert_array_equal(window.tokens_BT[path, 6 : 6 + len(tokens)], tokens)
        np.testing.assert_allclose(window.known["book"][path, 6 : 6 + len(tokens)], expected, rtol=1e-5, atol=1e-6)


def test_a_level_takes_the_place_of_one_that_went_with_its_event(generated):
    for day in days_of(generated):
        states, corrections = replay(day, WINDOW), day.corrections
        kinds = day.events.kind[corrections.event]
        assert np.isin(kinds, (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE)).all()
        assert (day.events.side[corrections.event] == corrections.side).all()
        assert len(np.unique(corrections.event)) == len(corrections)
        last = states.price[corrections.event + 1, (corrections.side < 0).astype(int), -1]
        np.testing.assert_array_equal(last, corrections.price)


def first_of(generated, side):
    """Return the first levels that came into view on a side, over all paths: (price, size)."""
    rows = [(one.price[one.side == side], one.size[one.side == side]) for one in generated.corrections]
    return {(int(price[0]), int(size[0])) for price, size in rows if len(price)}


def test_a_path_begins_with_what_its_prompt_remembers(generated):
    assert first_of(generated, -1) <= {(10_500, 7), (10_300, 2)} and first_of(generated, 1)


@pytest.mark.slow
def test_levels_that_come_into_view_do_not_depend_on_other_paths(generated):
    alone = generate(lively(LONG), windowed(), model=LONG, sampling=dataclasses.replace(SAMPLING, paths=1), **HOW)
    np.testing.assert_array_equal(alone.tokens[0], generated.tokens[0])
    for name, values in vars(alone.corrections[0]).items():
        np.testing.assert_array_equal(values, getattr(generated.corrections[0], name), name)


@pytest.mark.slow
def test_without_a_distribution_a_side_may_run_empty_and_that_is_told():
    many = dataclasses.replace(SAMPLING, paths=8, events=200)
    found = checked(generate(lively(LONG), windowed(reveals=NO_REVEALS), model=LONG, sampling=many, **HOW))
    assert all(one.faults == {} for one in found) and any(one.emptied for one in found)


@pytest.mark.slow
def test_orders_of_the_user_bring_levels_into_view_too():
    orders = tuple(Order(-1, 9, after_events=5 * k) for k in range(1, 6))
    sampling = dataclasses.replace(SAMPLING, inject=orders)
    found = generate(lively(LONG), windowed(), model=LONG, sampling=sampling, **HOW)
    assert all(one.faults == {} for one in checked(found))
    for day, tokens, own in zip(days_of(found), found.tokens, found.own, strict=True):
        mine = np.unique(np.cumsum(tokens // 1000 < 7)[own]) - 1
        mine = mine[mine < len(day.events)]
        assert np.isin(day.corrections.event, mine[day.events.kind[mine] == Kind.EXECUTE]).any()


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, dataclasses.replace(MODEL, positions="rotary")], ids=["halves", "slides"])
def test_a_stream_has_the_same_levels(model, monkeypatch):
    monkeypatch.setattr(loop, "PIECE", 7)
    given = windowed(model)
    whole = days_of(generate(lively(model), given, model=model, sampling=SAMPLING, **HOW))
    parts = list(stream(lively(model), given, model=model, sampling=SAMPLING, **HOW))
    for path, day in enumerate(whole):
        one = [part[path] for part in parts]
        np.testing.assert_array_equal(np.concatenate([part.events.price for part in one]), day.events.price)
        for name in ("side", "price", "size"):
            streamed = np.concatenate([getattr(part.corrections, name) for part in one])
            np.testing.assert_array_equal(streamed, getattr(day.corrections, name))
        states, first = replay(day, WINDOW), 0
        for part in one:
            np.testing.assert_array_equal(replay(part, WINDOW).size, states.size[first : first + len(part.events) + 1])
            first += len(part.events)


@pytest.mark.slow
def test_compact_tokens_reveal_levels_too():
    generated = generate(
        lively(MODEL), windowed(MODEL), model=MODEL, sampling=SAMPLING, tokenizer=COMPACT, instrument=INSTRUMENT
    )
    assert all(one.faults == {} and not one.emptied for one in checked(generated, COMPACT))
    assert sum(len(one) for one in generated.corrections) > 5


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", [TOKENIZER, COMPACT], ids=["exact", "compact"])
def test_speculative_paths_reveal_levels_too(tokenizer):
    model = dataclasses.replace(MODEL, heads=dataclasses.replace(MODEL.heads, next_tokens=3))
    sampling = dataclasses.replace(SAMPLING, paths=1, events=100, seed=1)
    how = {"model": model, "sampling": sampling, "tokenizer": tokenizer, "instrument": INSTRUMENT}
    generated, _ = generate_speculatively(lively(model), windowed(model), **how)
    assert [one.faults for one in checked(generated, tokenizer)] == [{}] and len(generated.corrections[0]) > 3
    assert len(np.unique(generated.corrections[0].size)) > 2
