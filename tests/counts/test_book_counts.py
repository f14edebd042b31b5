import json
import types

import numpy as np
import pytest

from lob_jax.counts.book_counts import fit_book_counts, fit_mixture, fit_rates
from lob_jax.counts.candidates import N_WEIGHTS
from lob_jax.counts.contexts import CodeSets
from lob_jax.counts.decisions import Prepared, Rows, samples_of
from lob_jax.counts.ngram import fit_ngram
from lob_jax.counts.observe import tally_orders
from lob_jax.counts.schemes import Decide
from lob_jax.counts.watch import Item
from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.tokens.exact import ExactTokenizer
from tests.counts.conftest import lively_day, record_of


def with_tokens(record, tokens):
    return {**record, "tokens": np.append(tokens, v.EOS).astype(np.uint16)}


def completed(grammar, tokens):
    """The tokens, continued to the end of their event."""
    tokens, state = list(tokens), grammar.walk(tokens)
    while state != grammar.start and not grammar.at_boundary[state]:
        choices = np.flatnonzero(grammar.allowed[state])
        token = next((one for one in (8001, 9101) if one in choices), int(choices[0]))
        tokens.append(token)
        state = int(grammar.transition[state, token])
    return np.array(tokens)


def cut_off(record, tokens, grammar):
    """The record that begins with some tokens and ends with their event; a correction after that is left out."""
    whole = completed(grammar, tokens)
    known = record["correction_event"] < v.event_index(whole)[-1]
    kept = {name: record[name][known] for name in record if name.startswith("correction_")}
    return with_tokens({**record, **kept}, whole)


@pytest.mark.parametrize("time_digits", [5, None])
def test_probabilities_of_allowed_tokens_sum_to_one(fitted, time_digits):
    model, tokenizer = fitted
    if time_digits is None:
        tokenizer = ExactTokenizer()
        model = fit_book_counts([record_of(1, 300, tokenizer)], [record_of(2, 200, tokenizer)], tokenizer)
    record = record_of(4, 120, tokenizer)
    tokens = record["tokens"][:-1].astype(np.int64)
    p = model.distributions(record, np.arange(len(tokens)))
    allowed = tokenizer.grammar.allowed[CodeSets.of(tokenizer.grammar).states(tokens)]
    assert p.sum(1) == pytest.approx(1, abs=1e-9)
    assert (p[~allowed] == 0).all() and (p[allowed] > 0).all()
    assert model.log_prob(record) == pytest.approx(np.log(p[np.arange(len(tokens)), tokens]), abs=1e-12)
    assert model.predict(record).tolist() == p.argmax(1).tolist()
    fields = set(v.field_of(tokens))
    assert fields == {
        v.FIELD_HEAD,
        v.FIELD_HEAD_DIGITS,
        v.FIELD_SIZE,
        v.FIELD_SIZE_DIGITS,
        v.FIELD_GAP,
        v.FIELD_GAP_DIGITS,
    }


@pytest.mark.slow
def test_scores_of_all_candidates_sum_to_one_by_brute_force(fitted):
    model, tokenizer = fitted
    grammar, rng = tokenizer.grammar, np.random.default_rng(0)
    record = record_of(5, 60, tokenizer)
    tokens = record["tokens"][:-1].astype(np.int64)
    field = v.field_of(tokens)
    for wanted in (v.FIELD_SIZE, v.FIELD_GAP_DIGITS, v.FIELD_HEAD):
        position = int(rng.choice(np.flatnonzero(field == wanted)))
        (p,) = model.distributions(record, np.array([position]))
        candidates = np.flatnonzero(p)
        tried = candidates if wanted == v.FIELD_SIZE else rng.choice(candidates, 150, replace=False)
        for token in tried[tried != v.EOS]:
            changed = cut_off(record, [*tokens[:position], token], grammar)
            assert model.log_prob(changed)[position] == pytest.approx(np.log(p[token]), abs=1e-9)
        if wanted == v.FIELD_SIZE:
            assert p[tried].sum() == pytest.approx(1, abs=1e-9)


def test_what_comes_later_changes_nothing(fitted):
    model, tokenizer = fitted
    record, other = record_of(6, 120, tokenizer), record_of(7, 120, tokenizer)
    tokens = record["tokens"][:-1].astype(np.int64)
    for cut in np.flatnonzero(v.field_of(tokens) == v.FIELD_HEAD)[[40, 90]]:
        changed = with_tokens(record, np.concatenate([tokens[:cut], other["tokens"][:-1]]))
        event = v.event_index(tokens)[cut]
        later = record["correction_event"] >= event
        changed["correction_size"] = np.where(later, 9, record["correction_size"])
        assert np.array_equal(model.log_prob(changed)[:cut], model.log_prob(record)[:cut])
        assert np.array_equal(model.predict(changed)[: cut + 1], model.predict(record)[: cut + 1])


def test_every_event_has_a_positive_probability_also_against_the_book(fitted):
    model, tokenizer = fitted
    assert np.isfinite(model.log_prob(record_of(8, 300, tokenizer))).all()


def test_the_book_pays(fitted):
    """Removed prices and sizes are those of orders: the n-gram, which knows the same past, cannot see them."""
    model, tokenizer = fitted
    train, held = [record_of(seed, 700, tokenizer) for seed in (1, 2)], record_of(9, 500, tokenizer)
    whole = [(one["tokens"][:-1], np.ones(len(one["tokens"]) - 1, bool)) for one in train]
    ngram = fit_ngram(whole, whole[:1], grammar=tokenizer.grammar, orders=(1, 2, 3))
    tokens = held["tokens"][:-1].astype(np.int64)
    heads, event = tokens[v.field_of(tokens) == v.FIELD_HEAD], v.event_index(tokens)
    sizes = (heads[event] // 1000 == Kind.DELETE) & np.isin(v.field_of(tokens), [v.FIELD_SIZE, v.FIELD_SIZE_DIGITS])
    assert -model.log_prob(held)[sizes].sum() < 0.8 * -ngram.log_prob(tokens)[sizes].sum()
    assert -model.log_prob(held).sum() < -ngram.log_prob(tokens).sum()


def test_a_model_of_nothing_is_uniform_and_still_sums_to_one():
    tokenizer = ExactTokenizer()
    model = fit_book_counts([], [], tokenizer)
    record = record_of(4, 20, tokenizer)
    p = model.distributions(record, np.arange(10))
    assert p.sum(1) == pytest.approx(1, abs=1e-9)
    assert json.loads(json.dumps(model.summary(), allow_nan=False)) == model.summary()


def test_the_summary_names_what_was_chosen(fitted):
    summary = fitted[0].summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert {"action", "price", "size", "gap", "fine", "end", "digits", "views"} == set(summary)
    assert sum(summary["price"]["shares"]) == pytest.approx(1, abs=0.01)


def test_events_of_leads_are_context_alone(fitted):
    _, tokenizer = fitted
    sets = CodeSets.of(tokenizer.grammar)
    whole, cut = (
        Rows.of([Prepared.of(record_of(1, 100, tokenizer, lead=lead), tokenizer, sets)], sets) for lead in (0, 30)
    )
    assert len(cut.action) == 70
    assert np.array_equal(cut.items, whole.items[30:])
    assert len(samples_of(cut, sets, Decide.ACTION, (Item.ACTION_1,)).symbol) == 70


def test_shares_are_the_frequencies_where_models_exclude_each_other():
    p = np.repeat(np.eye(2), [60, 20], axis=0)
    shares = fit_mixture(p, np.zeros(80, np.int64))
    assert shares[0] == pytest.approx([0.75, 0.25], abs=1e-6)
    assert shares[5] == pytest.approx([0.75, 0.25], abs=1e-6)  # a bucket without samples: those of all


def test_shares_reach_the_maximum_of_the_likelihood():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 1, (400, 2))
    (share, _), *_ = fit_mixture(p, np.zeros(400, np.int64), rounds=2_000)
    grid = np.linspace(0, 1, 2_001)
    best = grid[np.argmax([np.log(p @ [w, 1 - w]).sum() for w in grid])]
    assert share == pytest.approx(best, abs=0.01)


def test_rates_make_classes_of_orders_go_as_often_as_they_do():
    tokenizer = ExactTokenizer()
    sets = CodeSets.of(tokenizer.grammar)
    one = Prepared.of(record_of(1, 400, tokenizer), tokenizer, sets)
    off = []
    for rates in (np.ones((2, N_WEIGHTS)), fit_rates([one])):
        tally = np.zeros((2, 2, N_WEIGHTS))
        tally_orders(*one.fresh(), one.steps, one.counted, rates, tally)
        off.append(np.abs(tally[1, 0] - tally[1, 1]).sum())
        assert tally[1].sum(1) == pytest.approx([tally[1, 0].sum()] * 2)
    assert tally[1, 0].sum() > 50
    assert off[1] < 0.5 * off[0]


def test_tokens_without_a_book_are_refused():
    compact = types.SimpleNamespace(lacks=CompactTokenizer.lacks)
    with pytest.raises(InputError, match="no book to count in"):
        fit_book_counts([], [], compact)


def test_the_lively_day_has_what_the_tests_speak_of():
    kinds = set(lively_day(8, 300).events.kind.tolist())
    assert kinds == {Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE, Kind.EXECUTE_HIDDEN, Kind.CONTROL}
