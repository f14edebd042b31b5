"""Drawing against distributions made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.generation.device.sampling import (
    DRAWS,
    choose,
    draw_class,
    inverted,
    masked_masses,
    probabilities,
    truncated,
)
from lob_jax.generation.settings import EVERYTHING, GREATEST_TEMPERATURE, LEAST_TEMPERATURE, SamplingConfig, Truncation

TIMES = 8_000


def logits_of(shares: dict[int, float], size: int = 3000) -> jax.Array:
    """Return one row of logits with these probabilities, all others as good as nothing."""
    row = np.full(size, -40.0, np.float32)
    for token, share in shares.items():
        row[token] = np.log(share)
    return jnp.asarray(row[None])


def frequencies(
    logits_1V, *, temperature=1.0, truncation=EVERYTHING, grammar=None, book=None, **more
) -> dict[int, float]:
    allowed = jnp.ones(logits_1V.shape, bool)
    how = {"temperature": temperature, "truncation": truncation, **more}

    masks = [allowed if mask is None else jnp.asarray(mask)[None] for mask in (grammar, book)]

    def draw(at_3):
        return choose(at_3[None], logits_1V, *masks, **how).token_B[0]

    drawn = jax.lax.map(draw, jax.random.uniform(jax.random.key(0), (TIMES, DRAWS)), batch_size=500)
    tokens, counts = np.unique(drawn, return_counts=True)
    return dict(zip(tokens.tolist(), (counts / TIMES).tolist(), strict=True))


def assert_shares(found, expected):
    assert set(found) == set(expected)
    for token, share in expected.items():
        assert found[token] == pytest.approx(share, abs=4 * (share * (1 - share) / TIMES) ** 0.5 + 1e-9)


SHARES = {0: 0.1, 7: 0.2, 1001: 0.25, 1003: 0.05, 2999: 0.4}


def test_all_tokens_are_drawn_as_often_as_they_are_likely():
    assert_shares(frequencies(logits_of(SHARES)), SHARES)


@pytest.mark.slow
def test_temperature_sharpens_across_classes():
    squares = {token: share**2 for token, share in SHARES.items()}
    total = sum(squares.values())
    found = frequencies(logits_of(SHARES), temperature=0.5)
    assert_shares(found, {token: square / total for token, square in squares.items()})


@pytest.mark.parametrize("temperature", [0.0, 0.01])
def test_at_no_temperature_the_most_likely_token_of_all_is_taken(temperature):
    assert frequencies(logits_of(SHARES), temperature=temperature) == {2999: 1.0}


@pytest.mark.slow
def test_truncation_leaves_the_shares_of_the_classes():
    found = frequencies(logits_of(SHARES), truncation=Truncation(top_k=1))
    assert_shares(found, {7: 0.3, 1001: 0.3, 2999: 0.4})


def test_masks_come_before_everything():
    grammar, book = np.ones(3000, bool), np.ones(3000, bool)
    grammar[2999], book[[7, 1001]] = False, False
    found = frequencies(logits_of(SHARES), grammar=grammar, book=book, truncation=Truncation(top_k=1))
    assert_shares(found, {0: 0.1 / 0.15, 1003: 0.05 / 0.15})


def test_what_the_masks_took_is_told():
    grammar, book = np.ones((1, 3000), bool), np.ones((1, 3000), bool)
    grammar[0, 2999], book[0, [7, 2999]] = False, False
    masses = masked_masses(logits_of(SHARES), jnp.asarray(grammar), jnp.asarray(book))
    np.testing.assert_allclose([float(mass[0]) for mass in masses], [0.4, 0.2 / 0.6], rtol=1e-5)


def test_the_kind_is_drawn_before_the_book_mask_applies():
    shares = {0: 0.1, 7: 0.2, 1001: 0.25, 1003: 0.05, 2000: 0.15, 2001: 0.05, 3500: 0.2}
    grammar, book = np.ones(4000, bool), np.ones(4000, bool)
    grammar[2000] = False
    book[[7, 1001]], book[3000:] = False, False
    how = {"grammar": grammar, "book": book}
    # The class 0 has .1 of what is left, kind 1 its .3 although most of it is masked, and of kind 3 there is no event.
    first = {0: 0.1 / 0.45, 1003: 0.3 / 0.45, 2001: 0.05 / 0.45}
    assert_shares(frequencies(logits_of(shares, 4000), **how, kinds_first=True), first)
    assert_shares(frequencies(logits_of(shares, 4000), **how), {0: 0.5, 1003: 0.25, 2001: 0.25})
    masks = jnp.asarray(grammar)[None], jnp.asarray(book)[None]
    rules = {"temperature": 1.0, "truncation": EVERYTHING, "kinds_first": True}
    found = probabilities(logits_of(shares, 4000), *masks, **rules)[0]
    np.testing.assert_allclose([found[token] for token in first], list(first.values()), rtol=1e-5)


KEPT = [
    (Truncation(), {0, 1, 2, 3}),
    (Truncation(top_k=1), {0}),
    (Truncation(top_k=2), {0, 1, 2}),  # 1 and 2 are equally likely
    (Truncation(top_p=0.3), {0}),
    (Truncation(top_p=0.5), {0, 1, 2}),
    (Truncation(top_p=0.89), {0, 1, 2}),
    (Truncation(top_p=0.91), {0, 1, 2, 3}),
    (Truncation(min_p=0.3), {0, 1, 2}),
    (Truncation(min_p=0.6), {0, 1, 2}),
    (Truncation(min_p=0.65), {0}),
    (Truncation(top_k=3, top_p=0.4), {0}),  # of what top-k left, the first has .444
    (Truncation(top_p=0.95, min_p=0.2), {0, 1, 2, 3}),
]


@pytest.mark.parametrize(("truncation", "kept"), KEPT)
def test_what_each_rule_keeps(truncation, kept):
    shares = jnp.asarray([[0.4, 0.25, 0.25, 0.1, 0.0]])
    left = truncated(jnp.log(shares), truncation)
    assert set(np.flatnonzero(np.isfinite(left[0])).tolist()) == kept


@pytest.mark.slow
def test_a_path_does_not_depend_on_its_batch():
    logits_BV = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3000)), jnp.float32)
    at_B3, allowed_BV = jax.random.uniform(jax.random.key(3), (5, DRAWS)), jnp.ones((5, 3000), bool)
    how = {"temperature": 1.0, "truncation": Truncation(top_p=0.9)}
    together = choose(at_B3, logits_BV, allowed_BV, allowed_BV, **how).token_B
    for k in range(5):
        row = slice(k, k + 1)
        alone = choose(at_B3[row], logits_BV[row], allowed_BV[row], allowed_BV[row], **how).token_B
        assert int(alone[0]) == together[k]


@pytest.mark.parametrize("at", [0.0, 0.2499, 0.25, 0.5, 0.7499, 0.75, 0.99999994, 1.0])
def test_a_distribution_is_inverted(at):
    weight_1K = jnp.array([[0.0, 1.0, 0.0, 2.0, 0.0, 1.0, 0.0]])
    expected = 1 if at < 0.25 else 3 if at < 0.75 else 5
    assert int(inverted(weight_1K, jnp.array([at]))[0]) == expected


def test_whether_a_number_goes_on_is_drawn_by_the_first_number_alone():
    weight_1C = jnp.array([[0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]])
    drawn = [
        [int(draw_class(weight_1C, jnp.array([[first, second]]))[0]) for second in (0.1, 0.9)] for first in (0.2, 0.3)
    ]
    assert drawn == [[7, 7], [1, 2]]


@pytest.mark.parametrize(
    "truncation",
    [
        pytest.param(EVERYTHING, marks=pytest.mark.slow),
        pytest.param(Truncation(top_k=2), marks=pytest.mark.slow),
        pytest.param(Truncation(top_p=0.6), marks=pytest.mark.slow),
        Truncation(min_p=0.7),
    ],
)
def test_the_distribution_is_that_of_the_draws(truncation):
    shares = {1: 0.1, 2: 0.15, 3: 0.15, 1001: 0.25, 1003: 0.05, 2999: 0.3}
    allowed_1V = jnp.ones((1, 3000), bool).at[0, 2].set(False)
    how = {"temperature": 0.8, "truncation": truncation}
    expected = np.asarray(probabilities(logits_of(shares), allowed_1V, jnp.ones_like(allowed_1V), **how))[0]
    assert expected.sum() == pytest.approx(1, abs=1e-5)
    assert_shares(
        frequencies(logits_of(shares), grammar=allowed_1V[0], **how),
        {int(token): float(expected[token]) for token in np.flatnonzero(expected > 1e-9)},
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"paths": 0}, "paths"),
        ({"paths": 1.5}, "paths"),
        ({"paths": "3"}, "paths"),
        ({"events": 0}, "events"),
        ({"events": 2**31}, "events"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": 1e-38}, "temperature"),
        ({"temperature": 1e-39}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_settings_that_cannot_be_drawn_with_are_refused(settings, named):
    with pytest.raises(InputError, match="the sampling setting is invalid") as caught:
        SamplingConfig(**{"paths": 1, "events": 1, "seed": 0, **settings})
    assert caught.value.where == named and caught.value.was == repr(settings[named])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"top_k": -1}, "top_k"),
        ({"top_k": 2.5}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
        ({"min_p": 1.0}, "min_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"min_p": None}, "min_p"),
    ],
)
def test_a_truncation_that_leaves_nothing_is_refused(settings, named):
    with pytest.raises(InputError, match="the sampling setting is invalid") as caught:
        Truncation(**settings)
    assert caught.value.where == named


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [LEAST_TEMPERATURE, GREATEST_TEMPERATURE])
@pytest.mark.parametrize("logit", [-1e6, 0.0, 1e6])
def test_no_temperature_draws_what_is_masked(temperature, logit):
    """At either end, whatever the logits, a draw is one of the two tokens that are allowed."""
    logits = jnp.full((64, 10_000), logit, jnp.float32).at[:, 7].add(3)
    allowed = jnp.zeros((64, 10_000), bool).at[:, [1000, 1003]].set(True)
    at = jax.random.uniform(jax.random.key(0), (64, DRAWS))
    how = {"temperature": temperature, "truncation": Truncation(top_p=0.99)}
    drawn = choose(at, logits, allowed, allowed, **how).token_B
    assert set(np.asarray(drawn).tolist()) == {1000, 1003}
