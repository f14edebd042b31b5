"""Generation without JAX as a whole: with the logits of the device, the events of the device."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.generation import loop as device
from lob_jax.generation.host import loop as host
from lob_jax.generation.settings import Order, Truncation
from tests.generation.host.decoder import JaxDecoder
from tests.generation.host.test_paths import RANKED, read
from tests.generation.market import (
    COMPACT,
    INSTRUMENT,
    KINDS,
    MODEL,
    SAMPLING,
    TOKENIZER,
    assert_valid,
    lively,
    prompt,
)
from tests.generation.test_prompts import prompts
from tests.generation.test_user_orders import EVERY, STARTS, drawn_orders
from tests.generation.test_windowed_paths import BEHIND, REVEALS, SHOWN, checked
from tests.test_layout import ROOT


def on_host(params, given, *, model=MODEL, tokenizer=TOKENIZER, on_progress=None, **changes):
    """Return what the host generates, and its decoder."""
    decoder, sampling = JaxDecoder(params, model), dataclasses.replace(SAMPLING, **changes)
    how = {"model": model, "tokenizer": tokenizer, "instrument": INSTRUMENT, "sampling": sampling}
    return host.generate(decoder, given, **how, on_progress=on_progress), decoder


def on_both(params, given, *, model=MODEL, tokenizer=TOKENIZER, **changes):
    """Return what the host generates, which is what the device does, and its decoder."""
    sampling = dataclasses.replace(SAMPLING, **changes)
    how = {"model": model, "tokenizer": tokenizer, "instrument": INSTRUMENT, "sampling": sampling}
    expected = device.generate(params, given, **how)
    found, decoder = on_host(params, given, model=model, tokenizer=tokenizer, **changes)
    for name in ("tokens", "own"):
        for mine, theirs in zip(getattr(found, name), getattr(expected, name), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    for name in ("clock_ns", "levels", "orders"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("grammar_mass", "book_mass", "remembered"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-6)
    for mine, theirs in zip(found.corrections, expected.corrections, strict=True):
        for name in ("event", "side", "price", "size"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    return found, decoder


@pytest.fixture(scope="module")
def params():
    return lively(MODEL)


@pytest.mark.slow
def test_paths_that_outgrow_their_context_are_those_of_the_device_and_valid(params):
    found, decoder = on_both(params, prompt())
    assert_valid(found)
    assert min(map(len, found.tokens)) > MODEL.max_seq_length and decoder.resets > 3
    assert max(inputs["tokens"].shape[1] for inputs in decoder.read) == MODEL.max_seq_length // 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rotary", "prefix", "horizons"])
def test_every_kind_of_context(kind):
    model = KINDS[kind]
    found, decoder = on_both(lively(model), prompt(model), model=model, events=60)
    assert_valid(found, events=60)
    assert (decoder.resets == 1) == (kind != "prefix")


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, KINDS["rotary"]], ids=["drops", "slides"])
def test_prompts_of_unequal_lengths(model):
    found, _ = on_both(lively(model), prompts(model), model=model, paths=2)
    assert len(found.tokens) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"temperature": 0.0}, {"antithetic": True, "temperature": 0.8, "truncation": Truncation(50, 0.9, 0.02)}],
    ids=["greedy", "truncated"],
)
def test_other_settings(params, changes):
    assert_valid(on_both(params, prompt(), **changes)[0])


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", [RANKED, COMPACT], ids=["rank", "compact"])
def test_levels_that_come_into_view(tokenizer):
    model = dataclasses.replace(MODEL, flow_state=True, latest_tokens=True, max_seq_length=128)
    params, one = lively(model), read(SHOWN, tokenizer, behind=BEHIND)
    found, _ = on_both(params, one, model=model, tokenizer=tokenizer, events=80)
    assert all(not validity.faults for validity in checked(found, tokenizer))
    assert 0 < found.remembered.sum() < sum(map(len, found.corrections))  # some were remembered, and some drawn


def test_progress_is_told(params, monkeypatch):
    monkeypatch.setattr(host, "REPORTED", 20)
    told: list[int] = []
    on_host(params, prompt(), on_progress=told.append)
    assert told == sorted(told) and len(told) > 3 and told[-1] == SAMPLING.events


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tokenizer"), [("window", TOKENIZER), ("levels", TOKENIZER), ("orders", RANKED)])
def test_orders_of_the_user(params, kind, tokenizer):
    given = prompt(MODEL, STARTS[kind])
    if given.book.window:
        given = dataclasses.replace(given, behind=BEHIND, reveals=REVEALS)
    orders, events = drawn_orders(1)[:20], 20 * EVERY
    found, _ = on_both(params, given, tokenizer=tokenizer, events=events, inject=orders)
    outcomes = [one for path in found.orders for one in path]
    assert any(one.filled for one in outcomes) and any(one.rested for one in outcomes)
    assert any(fill.resting for one in outcomes for fill in one.fills)


def test_orders_of_the_user_that_cannot_be_sent_are_refused(params):
    order = Order(side=1, size=5, price=9_900, after_events=3)
    with pytest.raises(InputError, match="needs exact tokens"):
        on_host(params, prompt(), tokenizer=COMPACT, inject=(order,))
    with pytest.raises(InputError, match="the paths of one prompt"):
        on_host(params, prompts(), inject=(order,))
    with pytest.raises(InputError, match="the order is invalid"):
        on_host(params, prompt(), inject=(dataclasses.replace(order, after_events=30),))


def test_an_empty_prompt_is_refused(params):
    one = prompt()
    nothing = {name: leaf[:0] for name, leaf in one.known_T.items()}
    with pytest.raises(InputError, match="the prompt is empty"):
        on_host(params, dataclasses.replace(one, tokens_T=one.tokens_T[:0], known_T=nothing))


def test_importing_it_brings_no_jax():
    """Nor flax or tensorflow, at any depth: the tokenizers and prompts included."""
    modules = "lob_jax.generation.host.loop, lob_jax.runs.prompt, lob_jax.tokens.exact, lob_jax.tokens.compact"
    code = f"import sys, {modules}; print(sorted({{'jax', 'jaxlib', 'flax', 'tensorflow'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
