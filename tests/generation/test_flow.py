"""The flow that the device follows is that of the host along the decoded path, after every event."""

import dataclasses

import numpy as np
import pytest

from lob_jax.book.flow import blank_flow, flow_names
from lob_jax.book.flow_loop import FlowEvents, flow_after, flow_along, flow_events
from lob_jax.book.replay import replay
from lob_jax.errors import InputError
from lob_jax.generation import loop, speculative
from lob_jax.generation.device.known import known_at
from lob_jax.generation.loop import generate
from lob_jax.generation.settings import Order, SamplingConfig
from lob_jax.generation.speculative import generate_speculatively
from lob_jax.generation.start import start_paths
from tests.generation.along import assert_read, decoded, drawn
from tests.generation.market import COMPACT, INSTRUMENT, LEVELS, MODEL, TOKENIZER, lively, prompt, spied
from tests.generation.test_windowed_paths import BEHIND, REVEALS, SHOWN

FLOW = dataclasses.replace(MODEL, flow_state=True, max_seq_length=256)
PAST = FlowEvents(
    *np.array(
        [
            [4, 1, 5, 3_000_000, 0, 2, 0, 0],
            [5, -1, 2, 10**9, -100, 2, 0, 0],
            [7, 0, 0, 5, 0, 2, 0, 0],
            [4, -1, 9, 70, 300, 5, -300, 0],
            [1, 1, 3, 70, 0, 4, 0, 1],
        ]
    ).T
)
TOKENS = {"exact": 240, "compact": 45}


def state_of(past=PAST):
    """Return the state after some events, the last of which is at the time of the prompt's end."""
    start_ns = SHOWN.time_ns - int(past.gap_ns.sum())
    return flow_after(blank_flow(), past, start_ns=start_ns, tick=INSTRUMENT.tick)


def prompted(model=FLOW, **changes):
    """Return a prompt on a book that shows two levels a side, with a state of the flow."""
    one = prompt(model, SHOWN)
    known = {**one.known_T, "flow": np.zeros((len(one.tokens_T), len(flow_names())), np.float32)}
    how = {"behind": BEHIND, "reveals": REVEALS, "flow": state_of(), "known_T": known}
    return dataclasses.replace(one, **{**how, **changes})


def expected_flow(day, tokens, tokenizer, state):
    """Return the flow features at each token of a path, from the decoded events."""
    books = replay(day, LEVELS)
    around = {"mid2": books.mid2(), "two_sided": books.two_sided(), "features_EF": books.features()}
    events = flow_events(tokenizer.spelled(tokens), **around, tick=INSTRUMENT.tick)
    along = flow_along(state, events, start_ns=day.start.time_ns, tick=INSTRUMENT.tick)
    return along[tokenizer.known_rows(tokens)[0]]


def flow_along_of(tokenizer):
    """Return a function from tokens and their day to the flow along them, after that of the prompts."""
    return lambda tokens, day: {"flow": expected_flow(day, tokens, tokenizer, state_of())}


@pytest.mark.parametrize("tokenizer", [TOKENIZER, COMPACT], ids=["exact", "compact"])
def test_the_device_follows_the_flow_of_the_decoded_path(tokenizer):
    """Also with levels that come into view, orders of the user, and prompts whose flow was another one."""
    inject = tuple(Order(-1, 9, after_events=4 * k) for k in range(1, 4)) if tokenizer is TOKENIZER else ()
    sampling = SamplingConfig(paths=2, events=40, seed=3, inject=inject)
    states = [state_of(), state_of(FlowEvents(*(column[:2] for column in PAST))), blank_flow()]
    prompts = [prompted(flow=state, number=number) for number, state in enumerate(states)]
    how = {"names": ("flow",), "tokens": TOKENS[tokenizer.vocabulary.tokenizer]}
    found, known = drawn(FLOW, tokenizer, prompts, sampling, **how)
    seen = []
    for path, (row, origin) in enumerate(found):
        tokens, day = decoded(row, origin, tokenizer)
        assert len(day.events) >= 30
        expected = expected_flow(day, tokens, tokenizer, states[path // 2])
        np.testing.assert_allclose(known["flow"][path, : len(tokens)], expected, rtol=1e-5, atol=1e-5)
        seen.append(expected)
    spread = np.concatenate(seen).std(0)
    names = flow_names()
    assert {name for name, one in zip(names, spread, strict=True) if one > 0.01} >= {
        *("run_sign", "run_lots", "run_trades", "move_sign", "move_ticks", "gap_16", "share_16_add_bid"),
        *("seconds_since_execute_ask", "events_since_delete_bid", "move_events", "run_seconds"),
        *("joined_16", "cleared_16", *(["improved_16"] if tokenizer is COMPACT else [])),
    }


def test_a_prompt_without_its_flow_is_told():
    paths, _ = start_paths([prompted(flow=None)], TOKENIZER, INSTRUMENT, SamplingConfig(paths=1, events=1, seed=0))
    with pytest.raises(InputError, match="does not say what it was"):
        known_at(paths, ("flow",), None)


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", [TOKENIZER, COMPACT], ids=["exact", "compact"])
def test_a_model_reads_the_flow_of_its_path(tokenizer, monkeypatch):
    windows = spied(monkeypatch, loop)
    sampling = SamplingConfig(paths=2, events=30, seed=1)
    how = {"model": FLOW, "tokenizer": tokenizer, "instrument": INSTRUMENT, "sampling": sampling}
    generated = generate(lively(FLOW), prompted(), **how)
    for path in range(2):
        assert_read(windows[-1], generated, path, flow_along_of(tokenizer), tokenizer=tokenizer, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", [TOKENIZER, COMPACT], ids=["exact", "compact"])
def test_a_speculative_path_reads_the_flow_of_what_it_accepts(tokenizer, monkeypatch):
    model = dataclasses.replace(FLOW, heads=dataclasses.replace(FLOW.heads, next_tokens=3))
    windows, sampling = spied(monkeypatch, speculative), SamplingConfig(paths=1, events=30, seed=1)
    how = {"model": model, "tokenizer": tokenizer, "instrument": INSTRUMENT, "sampling": sampling}
    generated, counts = generate_speculatively(lively(model), prompted(model), **how)
    assert counts.accepted > 0
    assert_read(windows[-1], generated, 0, flow_along_of(tokenizer), tokenizer=tokenizer, rtol=1e-5, atol=1e-5)
