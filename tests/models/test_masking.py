"""The distribution over the tokens that may come, against a slow one in float64 and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.masking import Masks, Places, log_probabilities, make_masks, places_of, target_nll, unpacked
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import grammar_for
from lob_jax.tokens.sets.planes import CLASSES, pack

SIZE = 16
V = CLASSES * SIZE


def packed(allowed):
    return pack(allowed.reshape(-1, V)).reshape(*allowed.shape[:-1], -1)


def slow(logits, grammar, book, escape):
    """Return p of one place by its definition, float64 [V]."""

    def softmax(allowed):
        weight = np.where(allowed, np.exp(logits - logits[allowed].max()), 0)
        return weight / weight.sum()

    g, b, e = softmax(grammar), softmax(book), np.repeat(escape, SIZE)
    return (1 - (e * g).sum()) * b + e * g


@pytest.fixture
def made():
    """Return (logits [B, T, V], grammar, book and escapes of B T places), where the book allows a part of the rest."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (2, 5, V))
    grammar = random.random((2, 5, V)) < 0.6
    book = grammar & (random.random((2, 5, V)) < 0.4)
    grammar[..., 0] = book[..., 0] = True
    grammar[..., 17], book[..., 17] = True, False
    return logits, grammar, book, random.random((2, 5, CLASSES)) * 0.3


def places(grammar, book, escape):
    return Places(jnp.asarray(packed(grammar)), jnp.asarray(packed(book)), jnp.asarray(escape, jnp.float32))


def test_the_distribution_is_the_mixture_by_its_definition(made):
    logits, grammar, book, escape = made
    found = np.exp(np.asarray(log_probabilities(jnp.asarray(logits, jnp.float32), places(grammar, book, escape))))
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)
    assert not found[~grammar].any()
    for at in np.ndindex(2, 5):
        expected = slow(logits[at], grammar[at], book[at], escape[at])
        np.testing.assert_allclose(found[at], expected, atol=1e-6)


def test_the_loss_of_every_target_is_its_log_probability(made):
    logits, grammar, book, escape = made
    x, sets = jnp.asarray(logits, jnp.float32), places(grammar, book, escape)
    log_p = np.asarray(log_probabilities(x, sets))
    nll = jax.vmap(lambda target: target_nll(x, target, sets), out_axes=-1)(
        jnp.broadcast_to(jnp.arange(V), (2, 5, V)).transpose(2, 0, 1)
    )
    np.testing.assert_allclose(np.asarray(nll)[grammar], -log_p[grammar], rtol=1e-5, atol=1e-5)


def test_the_gradient_is_that_of_the_plain_formula(made):
    logits, grammar, book, escape = made
    x, sets = jnp.asarray(logits, jnp.float32), places(grammar, book, escape)
    random = np.random.default_rng(1)
    targets = jnp.asarray([[random.choice(np.flatnonzero(row)) for row in rows] for rows in grammar])
    targets = targets.at[0, 0].set(17)  # outside the book
    weights = jnp.asarray(random.random((2, 5)), jnp.float32)

    def plain(x):
        log_p = log_probabilities(x, sets)
        return -(jnp.take_along_axis(log_p, targets[..., None], -1)[..., 0] * weights).sum()

    found = jax.grad(lambda x: (target_nll(x, targets, sets) * weights).sum())(x)
    np.testing.assert_allclose(found, jax.grad(plain)(x), atol=1e-5)
    assert np.abs(np.asarray(found)).max() > 0.1


def test_without_anything_masked_it_is_the_softmax(made):
    logits, *_, escape = made
    everything = np.ones_like(logits, bool)
    x = jnp.asarray(logits, jnp.float32)
    plain = jax.nn.log_softmax(x)
    by_book = places_of(
        {
            "state": jnp.zeros((2, 5), jnp.int16),
            "kind": jnp.ones((2, 5), jnp.int8),
            "allowed": jnp.asarray(packed(everything)),
        },
        Masks(packed(np.ones((1, V), bool)), np.full((1, 2, CLASSES), escape[0, 0], np.float32)),
    )
    for sets in (by_book, Places(by_book.grammar_BTW)):
        np.testing.assert_allclose(log_probabilities(x, sets), plain, atol=2e-6)
        np.testing.assert_allclose(target_nll(x, jnp.full((2, 5), 20), sets), -plain[..., 20], atol=2e-6)


def test_by_the_grammar_alone_it_is_the_softmax_over_its_tokens(made):
    logits, grammar, *_ = made
    x, sets = jnp.asarray(logits, jnp.float32), Places(jnp.asarray(packed(grammar)))
    expected = np.where(grammar, np.exp(logits), 0)
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(log_probabilities(x, sets)), expected, atol=1e-6)
    targets = jnp.full((2, 5), 17)
    gradient = jax.grad(lambda x: target_nll(x, targets, sets).sum())(x)
    np.testing.assert_allclose(gradient, expected - (np.arange(V) == 17), atol=1e-6)


@pytest.mark.parametrize("gap", [30, 60, 300, 1e30])
@pytest.mark.parametrize("target", [0, 17])
def test_losses_and_gradients_stay_finite_where_the_book_is_most_unlikely(gap, target):
    """The grammar's likeliest token is `gap` above those of the book, whose shares underflow."""
    logits, grammar, book = np.zeros(V), np.zeros(V, bool), np.zeros(V, bool)
    grammar[[0, 1, 17, 18]], book[[0, 1]] = True, True
    logits[[17, 18]] = gap, gap - 2
    sets = places(grammar[None, None], book[None, None], np.full((1, 1, CLASSES), 0.01))
    x = jnp.asarray(logits[None, None], jnp.float32)
    nll, gradient = jax.value_and_grad(lambda x: target_nll(x, jnp.array([[target]]), sets)[0, 0])(x)
    assert np.isfinite(np.asarray(gradient)).all()
    expected = 0.99 / 2 if target == 0 else 0.01 / (1 + np.exp(-2))
    if gap < 1e30:  # there, float32 does not tell the two likeliest apart
        assert float(nll) == pytest.approx(-np.log(expected), rel=1e-4)
    assert np.isfinite(float(nll))


@pytest.mark.parametrize(("above", "loss"), [(60.0, 60.0), (200.0, 75.0)])
def test_a_target_far_below_another_token_has_a_finite_loss_and_the_right_slope(above, loss):
    logits, both = np.zeros(V), np.zeros(V, bool)
    both[[0, 1]], logits[1] = True, above
    grammar = both | (np.arange(V) == 17)
    sets = places(grammar[None, None], both[None, None], np.full((1, 1, CLASSES), 0.01))
    x = jnp.asarray(logits[None, None], jnp.float32)
    nll, gradient = jax.value_and_grad(lambda x: target_nll(x, jnp.array([[0]]), sets)[0, 0])(x)
    assert float(nll) == pytest.approx(loss, abs=1e-3)
    np.testing.assert_allclose(np.asarray(gradient)[0, 0, [0, 1]], [-1, 1], atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_logits_of_16_bits_are_summed_in_float32(made, dtype):
    logits, grammar, book, escape = made
    x, sets = jnp.asarray(logits, dtype), places(grammar, book, escape)
    targets = jnp.zeros((2, 5), jnp.int32)
    nll = target_nll(x, targets, sets)
    assert nll.dtype == jnp.float32
    np.testing.assert_array_equal(nll, target_nll(x.astype(jnp.float32), targets, sets))
    assert jax.grad(lambda x: target_nll(x, targets, sets).sum())(x).dtype == dtype


def test_an_empty_set_is_that_of_the_grammar(made):
    logits, grammar, _, escape = made
    state, kind = jnp.zeros((1, 1), jnp.int16), jnp.zeros((1, 1), jnp.int8)
    masks = Masks(packed(grammar[0, :1]), np.full((1, 1, CLASSES), 0.2, np.float32))
    sets = places_of({"state": state, "kind": kind, "allowed": jnp.zeros((1, 1, V // 8), jnp.uint8)}, masks)
    np.testing.assert_array_equal(sets.book_BTW, sets.grammar_BTW)
    x = jnp.asarray(logits[:1, :1], jnp.float32)
    np.testing.assert_allclose(log_probabilities(x, sets), log_probabilities(x, Places(sets.grammar_BTW)), atol=1e-6)


def test_the_book_cannot_allow_what_the_grammar_forbids(made):
    _, grammar, *_ = made
    masks = Masks(packed(grammar[0, :1]), np.zeros((1, 1, CLASSES), np.float32))
    known = {"state": jnp.zeros((1, 1), jnp.int16), "kind": jnp.zeros((1, 1), jnp.int8)}
    sets = places_of({**known, "allowed": jnp.full((1, 1, V // 8), 255, jnp.uint8)}, masks)
    np.testing.assert_array_equal(sets.book_BTW[0, 0], packed(grammar[0, 0]))


def test_the_escape_share_of_a_token_is_of_its_field_and_kind():
    grammar = grammar_for(5)
    escape = np.arange(49).reshape(7, 7) / 100
    masks = make_masks(grammar, escape)
    np.testing.assert_array_equal(unpacked(jnp.asarray(masks.grammar_SW)), grammar.allowed)
    share = np.repeat(masks.escape_SKC, v.CLASS_SIZE, axis=2)
    boundary, size = grammar.start, grammar.walk([v.CLASS_SIZE])
    # A head has the share of its own kind, whatever the last event was.
    assert share[boundary, 5, 3 * v.CLASS_SIZE] == pytest.approx(escape[v.FIELD_HEAD, 3])
    assert share[boundary, 5, v.FIRST_CONTROL] == pytest.approx(escape[v.FIELD_HEAD, 0])
    assert share[size, 1, v.SIZE + 5] == pytest.approx(escape[v.FIELD_SIZE, 1])
    more = grammar.walk([v.CLASS_SIZE, v.SIZE + 100])  # a size that may end or go on
    assert share[more, 4, v.CONTINUATION + 5] == share[more, 4, v.TIME] == share[more, 4, v.TIME_BACK]
    assert share[more, 4, v.TIME] == pytest.approx(escape[v.FIELD_SIZE_DIGITS, 4])
    gap = grammar.walk([v.CLASS_SIZE, v.SIZE + 5, v.TIME + 100])  # a gap that may go on, or the next head
    assert share[gap, 2, v.CONTINUATION + 5] == pytest.approx(escape[v.FIELD_GAP_DIGITS, 2])
    assert share[gap, 2, 6 * v.CLASS_SIZE] == pytest.approx(escape[v.FIELD_HEAD, 6])


def test_a_target_that_nothing_allows_has_a_finite_loss_so_that_its_weight_may_be_0():
    """Padding: its place has the same set by grammar and book, hence no escape, and the target is not in it."""
    allowed = np.zeros((1, 1, V), bool)
    allowed[..., [0, 1]] = True
    sets = places(allowed, allowed, np.zeros((1, 1, CLASSES)))
    weight = jnp.float32(0)

    def loss(x, weight):
        return (target_nll(x, jnp.array([[17]]), sets) * weight).sum()

    value, slope = jax.value_and_grad(loss)(jnp.zeros((1, 1, V), jnp.float32), weight)
    assert float(value) == 0 and not np.asarray(slope).any()
