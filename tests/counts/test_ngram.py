import collections
import math

import numpy as np
import pytest

from lob_jax.counts import contexts as c
from lob_jax.counts.contexts import CodeSets, Stream
from lob_jax.counts.levels import Level, Smoothing
from lob_jax.counts.ngram import fit_ngram, fit_zero_order
from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import grammar_for
from tests.counts.conftest import random_stream, small_grammar


def whole(*streams):
    return [(tokens, np.ones(len(tokens), bool)) for tokens in streams]


@pytest.fixture(scope="module")
def model(grammar, stream):
    return fit_ngram(whole(stream(0, 400), stream(1, 300)), whole(stream(2, 300)), grammar=grammar, orders=(1, 2, 3))


# The oracle: dictionaries, lists and loops, straight from the definitions.


def events_before(tokens, position):
    """The events that have begun in front of a position: dicts of their head, size and gap."""
    events = []
    for token in tokens[:position]:
        if 1000 <= token < 7000 or token == v.FIRST_CONTROL:
            events.append({"head": token})
        elif 8000 <= token < 9000:
            events[-1]["size"] = token
        elif token >= 9000:
            events[-1]["gap"] = token
    return events


def magnitude(lead):
    if lead == c.NOTHING:
        return c.NOTHING
    code = lead % 1000
    return min(code, 1) if code < 10 else 2 + (code - 10) // 90


def oracle_item(tokens, position, name, back):
    """One context item, worked out from the tokens in front of a position alone."""
    events = events_before(tokens, position)
    leads = [
        i for i in range(position) if 1000 <= tokens[i] < 7000 or tokens[i] >= 8000 or tokens[i] == v.FIRST_CONTROL
    ]
    event = events[-back] if 0 < back <= len(events) else {}
    if name == "token":
        return tokens[position - back] if position >= back else c.NOTHING
    if name in ("lead", "magnitude"):
        lead = tokens[leads[-1]] if leads else c.NOTHING
        return lead if name == "lead" else magnitude(lead)
    if name == "group":
        return tokens[position - back] if position - back > (leads[-1] if leads else -1) else c.NOTHING
    if name == "action":
        return event["head"] // 500 if event else c.NOTHING
    if name == "pace":
        return magnitude(event.get("gap", c.NOTHING))
    if name == "size at price":
        alike = [e for e in events[:-1] if events and e["head"] % 1000 == events[-1]["head"] % 1000]
        return alike[-1].get("size", c.NOTHING) if alike else c.NOTHING
    return event.get(name, c.NOTHING)


def oracle_decisions(tokens, grammar):
    """Yield (position, decision, what the shortest context is, symbol, uniform probability)."""
    state = grammar.start
    number = c.HEAD_END
    for position, token in enumerate(tokens):
        allowed = np.flatnonzero(grammar.allowed[state]).tolist()
        digits = [code for code in allowed if code // 1000 == 7]
        others = [code for code in allowed if code // 1000 != 7]
        goes_on = token // 1000 == 7
        if digits and others:
            yield position, number, state, goes_on, len(digits if goes_on else others) / len(allowed)
        if goes_on:
            code = {c.HEAD_END: c.HEAD_DIGITS, c.SIZE_END: c.SIZE_DIGITS, c.GAP_END: c.GAP_DIGITS}[number]
            yield position, code, tuple(digits), token, 1 / len(digits)
        else:
            code = c.SIZE if 8001 in others else c.GAP if 9101 in others else c.HEAD
            yield position, code, tuple(others), token, 1 / len(others)
        if token >= 8000:
            number = c.SIZE_END if token < 9000 else c.GAP_END
        elif 1000 <= token < 7000:
            number = c.HEAD_END
        state = grammar.transition[state, token]


def oracle_log_prob(model, train, tokens, grammar):
    """Refit by counting in dictionaries what the model says that it chose; score tokens."""

    def context(stream, position, decision, shortest, length):
        items = c.SCHEMES[decision][model.chains[decision].scheme][:length]
        return (decision, shortest, *(oracle_item(stream, position, *item) for item in items))

    counts = collections.defaultdict(collections.Counter)
    for stream in train:
        for position, decision, shortest, symbol, _ in oracle_decisions(stream, grammar):
            for length, _, _ in model.chains[decision].levels:
                counts[context(stream, position, decision, shortest, length)][symbol] += 1
    log_p = np.zeros(len(tokens))
    for position, decision, shortest, symbol, p in oracle_decisions(tokens, grammar):
        for length, _, smoothing in model.chains[decision].levels:
            seen = counts.get(context(tokens, position, decision, shortest, length))
            if seen:
                total = sum(seen.values())
                off = {0: 0.0, 1: smoothing.once, 2: smoothing.twice}
                given_up = sum(off.get(count, smoothing.more) for count in seen.values()) / total
                own = (seen[symbol] - off.get(seen[symbol], smoothing.more)) / total
                p = (1 - smoothing.share) * (own + given_up * p) + smoothing.share * p
        log_p[position] += math.log(p)
    return log_p


def test_log_prob_equals_counting_by_hand(grammar, stream, model):
    train = [stream(0, 400).tolist(), stream(1, 300).tolist()]
    tokens = stream(3, 80)
    expected = oracle_log_prob(model, train, tokens.tolist(), grammar)
    assert model.log_prob(tokens) == pytest.approx(expected, abs=1e-9)
    assert {name for name in model.summary() if len(model.summary()[name]["lengths"]) > 1} >= {"head", "size"}


def test_every_item_of_every_scheme_equals_the_oracle(grammar, stream):
    tokens = stream(4, 50)
    view, at = Stream(tokens, CodeSets.of(grammar)), np.arange(len(tokens))
    for scheme in (scheme for schemes in c.SCHEMES.values() for scheme in schemes.values()):
        for name, back in scheme:
            expected = [oracle_item(tokens.tolist(), position, name, back) for position in at]
            assert view.item(name, back, at).tolist() == expected, (name, back)


def next_log_probs(model, grammar, tokens, position):
    """The log probability of every allowed token at a position, each by scoring the stream that takes it."""
    state = Stream(tokens[: position + 1], CodeSets.of(grammar)).state[position]
    allowed = np.flatnonzero(grammar.allowed[state])
    return {int(code): model.log_prob(np.append(tokens[:position], code))[position] for code in allowed}


def test_probabilities_of_allowed_codes_sum_to_one_and_prediction_is_the_likeliest(grammar, stream, model):
    tokens = stream(5, 40)
    predicted = model.predict(tokens)
    for position in range(len(tokens)):
        log_p = next_log_probs(model, grammar, tokens, position)
        assert sum(map(math.exp, log_p.values())) == pytest.approx(1, abs=1e-9)
        assert min(log_p.values()) > -math.inf
        assert log_p[int(predicted[position])] == pytest.approx(max(log_p.values()), abs=1e-12)


def test_probabilities_where_a_rank_may_come_sum_to_one():
    grammar = small_grammar("rank")
    trained, held, tokens = (random_stream(grammar, seed, length) for seed, length in ((0, 300), (1, 200), (2, 60)))
    model = fit_ngram(whole(trained), whole(held), grammar=grammar, orders=(1, 2))
    field = v.field_of(tokens)
    ranks = np.flatnonzero((field == v.FIELD_RANK) | (field == v.FIELD_RANK_DIGITS))
    assert len(np.unique(field[ranks])) == 2
    for position in [*ranks, *(ranks + 1)]:
        log_p = next_log_probs(model, grammar, tokens, position)
        assert sum(map(math.exp, log_p.values())) == pytest.approx(1, abs=1e-9)
    assert Stream(tokens, model.sets).heads_before[-1] == (field == v.FIELD_HEAD).sum()


def test_scores_and_predictions_do_not_look_ahead(stream, model):
    tokens, other = stream(6, 60), stream(7, 60)
    cut = 30
    while tokens[cut] // 1000 not in range(1, 7):
        cut += 1
    changed = np.concatenate([tokens[:cut], other])
    assert np.array_equal(model.log_prob(changed)[:cut], model.log_prob(tokens)[:cut])
    assert np.array_equal(model.predict(changed)[: cut + 1], model.predict(tokens)[: cut + 1])


def test_zero_order_is_frequency_by_field_smoothed_to_the_uniform():
    head, size = [1000, 1000, 1000, 1500], [8001, 8001, 8001, 8001]
    tokens = np.array([token for pair in zip(head, size, strict=True) for token in (*pair, 9005)], np.uint16)
    grammar = grammar_for(None)
    model = fit_zero_order(whole(tokens), [], grammar=grammar)
    d = model.chains[c.HEAD].levels[0][2]
    assert d == Smoothing(0.5, 0.5, 0.5, 0.0)  # the middling one, for want of validation
    n = (grammar.allowed[grammar.start]).sum()
    p = np.exp(model.log_prob(tokens))
    assert p[0] == pytest.approx(2.5 / 4 + 2 * 0.5 / 4 / n)
    assert p[9] == pytest.approx(0.5 / 4 + 2 * 0.5 / 4 / n)
    assert p[1] == pytest.approx(3.5 / 4 + 0.5 / 4 / 1000)
    assert model.predict(tokens)[::3].tolist() == [1000] * 4


def test_what_was_never_seen_falls_back_to_the_codes_that_the_grammar_allows():
    grammar = grammar_for(None)
    model = fit_ngram([], [], grammar=grammar, orders=(1, 2))
    p = np.exp(model.log_prob(np.array([1000, 8000 + 100, 7500, 9000], np.uint16)))
    boundary, size, gap = (grammar.allowed[state].sum() for state in Stream([1000, 8001, 9000], model.sets).state)
    assert p == pytest.approx([1 / boundary, 1 / size, 1 / (9 + gap), 1 / gap])


def test_longer_contexts_and_training_pay_on_the_training_data(grammar, stream, model):
    train, held_out = whole(stream(0, 400), stream(1, 300)), whole(stream(2, 300))
    zero = fit_zero_order(train, held_out, grammar=grammar)
    elsewhere = fit_ngram(whole(stream(8, 100)), held_out, grammar=grammar, orders=(1, 2, 3))
    nll = [-one.log_prob(stream(0, 400)).mean() for one in (model, zero, elsewhere)]
    assert nll[0] < nll[1]
    assert nll[0] < nll[2]
    assert -model.log_prob(stream(3, 400)).mean() < -zero.log_prob(stream(3, 400)).mean()


def test_tokens_that_are_not_to_be_counted_are_context_alone(grammar, stream):
    tokens = stream(9, 100)
    counted = np.arange(len(tokens)) >= 40
    model = fit_ngram([(tokens, counted)], whole(stream(2, 300)), grammar=grammar, orders=(1, 2))
    heads = np.flatnonzero((tokens // 1000 >= 1) & (tokens // 1000 <= 6) | (tokens == v.FIRST_CONTROL))
    assert model.chains[c.HEAD].levels[0][1].total.sum() == (heads >= 40).sum()


def test_orders_name_the_lengths_that_may_take_part(grammar, stream):
    model = fit_ngram(whole(stream(0, 400)), whole(stream(2, 300)), grammar=grammar, orders=(2,))
    lengths = {length for chain in model.chains.values() for length, _, _ in chain.levels}
    assert lengths == {0, 2}


def test_discounts_estimated_from_the_counts_of_counts():
    # 3 pairs once, 2 twice, 1 three times, 1 four times: y = 3/7; D1 = 1 - 2y 2/3, D2 = 2 - 3y/2, D3 = 3 - 4y.
    symbol = np.repeat(np.arange(7), [1, 1, 1, 2, 2, 3, 4])
    level = Level.counted(np.zeros(len(symbol), np.uint64), symbol)
    assert level.total.tolist() == [14]
    assert level.types.tolist() == [[3, 2, 2]]
    assert level.estimated_discounts() == pytest.approx((3 / 7, 19 / 14, 9 / 7))
    assert Level.counted(np.zeros(1, np.uint64), np.zeros(1)).estimated_discounts() is None


def test_bad_settings_and_streams_are_refused(grammar, stream, model):
    with pytest.raises(InputError, match="out of range"):
        fit_ngram([], [], grammar=grammar, orders=(6,))
    with pytest.raises(InputError, match="out of range"):
        fit_ngram([], [], grammar=grammar, orders=(1,), discounts=(0.0,))
    broken = stream(0, 40).copy()
    broken[0] = 8001
    with pytest.raises(InputError, match="token 0"):
        model.log_prob(broken)
