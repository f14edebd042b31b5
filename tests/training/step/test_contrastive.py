"""Contrastive losses against loops, and the same over any number of devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lob_jax.data.windows.augment.reflection import mirrored
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.tokens.vocabulary import MASK
from lob_jax.training.step.contrastive import (
    Rows,
    augmented,
    compared,
    contrastive_loss,
    info_nce,
    last_scored,
    make_rows,
    view_keys,
)
from lob_jax.training.step.layout import make_mesh, split_over_windows
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.parts import summed_loss

LENGTH = 10


def rows_of(vectors, *, regime=None, example=None, view=None, record=None, position=None, weight=None):
    """Return rows; by default, of one view each, of windows of different records and the same regime."""
    count, zeros = len(vectors), np.zeros(len(vectors), np.int32)
    own = np.arange(count, dtype=np.int32)
    given = [zeros if regime is None else regime, own if example is None else example, zeros if view is None else view]
    given += [own if record is None else record, zeros if position is None else position]
    weight = np.ones(count, np.float32) if weight is None else weight
    return Rows(jnp.asarray(vectors), *(jnp.asarray(one) for one in (*given, weight)))


def unit_vectors(count, seed=0):
    vector_RP = np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)
    return vector_RP / np.linalg.norm(vector_RP, axis=1, keepdims=True)


def by_loops(vectors, positive, others, weight, temperature):
    total = 0.0
    for i in range(len(vectors)):
        s = [float(vectors[i] @ vectors[j]) / temperature for j in range(len(vectors))]
        log_sum = np.log(sum(np.exp(s[a]) for a in others[i])) if others[i] else 0.0
        if positive[i]:
            total -= weight[i] * np.mean([s[p] - log_sum for p in positive[i]])
    return total


def test_windows_of_a_regime_are_positives_unless_they_overlap_or_are_empty():
    vectors, weight = unit_vectors(7), np.array([3, 2, 1, 4, 5, 0, 2], np.float32)
    rows = rows_of(
        vectors,
        regime=np.array([0, 0, 1, 0, 2, 0, 0]),
        record=np.array([0, 0, 1, 1, 2, 3, 0]),
        position=np.array([0, 9, 0, 10, 0, 0, 10]),  # of record 0: the windows at 0 and 9 overlap, as do 9 and 10
        weight=weight,
    )
    others = [
        {2, 3, 4, 6},
        {2, 3, 4},
        {0, 1, 3, 4, 6},
        {0, 1, 2, 4, 6},
        {0, 1, 2, 3, 6},
        {0, 1, 2, 3, 4, 6},
        {0, 2, 3, 4},
    ]
    positive = [{3, 6}, {3}, set(), {0, 1, 6}, set(), {0, 1, 3, 6}, {0, 3}]
    found = compared(rows, rows, kind="regimes", length=LENGTH)
    for masks, expected in zip(found, (positive, others), strict=True):
        assert [{*np.flatnonzero(row)} for row in np.asarray(masks)] == expected
    loss = contrastive_loss(rows, kind="regimes", temperature=0.2, length=LENGTH)
    assert float(loss) == pytest.approx(by_loops(vectors, positive, others, weight, 0.2), rel=1e-5)


def test_the_positive_of_a_view_is_the_other_one_and_overlapping_windows_are_no_negatives():
    vectors, weight = unit_vectors(6), np.array([1, 2, 3, 1, 2, 3], np.float32) / 2
    rows = rows_of(
        vectors,
        example=np.array([5, 6, 7, 5, 6, 7]),
        view=np.array([0, 0, 0, 1, 1, 1]),
        record=np.array([0, 0, 1, 0, 0, 1]),
        position=np.array([0, 4, 0, 0, 4, 0]),
        weight=weight,
    )
    positive = [{3}, {4}, {5}, {0}, {1}, {2}]
    others = [{3, 2, 5}, {4, 2, 5}, {0, 1, 3, 4, 5}, {0, 2, 5}, {1, 2, 5}, {0, 1, 2, 3, 4}]
    loss = contrastive_loss(rows, kind="augmented", temperature=0.5, length=LENGTH)
    assert float(loss) == pytest.approx(by_loops(vectors, positive, others, weight, 0.5), rel=1e-5)


@pytest.mark.slow
def test_two_windows_by_hand():
    """Anchors 0 and 1 at a right angle, each with a twin: -log(e^(1/t) / (e^(1/t) + 2))."""
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    rows = rows_of(vectors, example=np.array([0, 1, 0, 1]), view=np.array([0, 0, 1, 1]), record=np.array([0, 1, 0, 1]))
    for temperature in (1.0, 0.1):
        loss = contrastive_loss(rows, kind="augmented", temperature=temperature, length=LENGTH)
        assert float(loss) == pytest.approx(4 * np.log1p(2 * np.exp(-1 / temperature)), rel=1e-5, abs=5e-6)


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences_and_finite_without_others():
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        similarity = jnp.asarray(random.standard_normal((4, 4)))
        others = jnp.asarray(~np.eye(4, dtype=bool))
        positive = others & jnp.asarray(random.random((4, 4)) < 0.5)
        check_grads(lambda s: info_nce(s, positive, others, jnp.arange(4.0)), (similarity,), order=1, modes=["rev"])
    rows = rows_of(unit_vectors(1))

    def alone(vectors):
        return contrastive_loss(rows._replace(vector_RP=vectors), kind="regimes", temperature=0.1, length=LENGTH)

    loss, gradient = jax.value_and_grad(alone)(rows.vector_RP)
    assert float(loss) == 0.0 and (gradient == 0).all()


@pytest.mark.parametrize("kind", ["regimes", "augmented"])
def test_the_rows_of_all_devices_are_compared(kind):
    """Of one device, of a mesh of eight, and of pmap: the same loss and the same gradients."""
    random = np.random.default_rng(1)
    count, pairs = 16, np.arange(16, dtype=np.int32) // 2
    rows = rows_of(
        unit_vectors(count),
        regime=random.integers(0, 3, count),
        example=pairs if kind == "augmented" else None,
        view=np.arange(count, dtype=np.int32) % 2,
        record=pairs // 2,
        position=LENGTH * (pairs % 2) + (np.arange(count) % 2 if kind == "regimes" else 0),
        weight=random.integers(0, 4, count).astype(np.float32),
    )

    def loss(rows, devices_axis=None):
        def of(vectors):
            how = {"kind": kind, "temperature": 0.3, "length": LENGTH, "devices_axis": devices_axis}
            return contrastive_loss(rows._replace(vector_RP=vectors), **how)

        value, gradient = jax.value_and_grad(of)(rows.vector_RP)
        return (value if devices_axis is None else jax.lax.psum(value, devices_axis)), gradient

    expected, slopes = jax.jit(loss)(rows)
    mesh = make_mesh(jax.devices())
    over_mesh = jax.jit(loss)(jax.device_put(rows, split_over_windows(mesh, leading_axes=0)))
    stacked = jax.tree.map(lambda leaf: leaf.reshape(8, 2, *leaf.shape[1:]), rows)
    each = jax.pmap(lambda rows: loss(rows, "devices"), "devices")(stacked)
    for value, gradient in (over_mesh, (each[0][0], each[1].reshape(slopes.shape))):
        assert float(value) == pytest.approx(float(expected), rel=1e-5)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-5)
    assert float(expected) > 1


def test_a_window_is_compared_by_its_last_scored_token():
    weights_BT = jnp.asarray([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(last_scored(weights_BT), [1, 0])
    batch = {"regime": jnp.asarray([[4, 5, 6, 9], [7, 8, 9, 9]]), "example": jnp.asarray([3, 4])}
    batch |= {"record": jnp.asarray([5, 6]), "position": jnp.asarray([7, 8])}
    rows = make_rows(jnp.arange(8.0).reshape(2, 2, 2), batch, weights_BT)
    np.testing.assert_array_equal(rows.vector_RP, [[0, 1], [2, 3], [4, 5], [6, 7]])
    np.testing.assert_array_equal(rows.regime_R, [5, 7, 5, 7])
    np.testing.assert_array_equal(rows.view_R, [0, 0, 1, 1])
    np.testing.assert_array_equal(rows.weight_R, [1, 0, 1, 0])  # the two views together count as two tokens


def test_a_view_masks_a_share_of_what_it_may_and_mirrors_what_it_is_told_to():
    random = np.random.default_rng(0)
    tokens_BT = jnp.asarray(1_000 * random.integers(1, 7, (40, 200)) + random.integers(0, 400, (40, 200)), jnp.int32)
    book_BTF = jnp.asarray(random.normal(size=(40, 200, 12)), jnp.float32)
    may_BT, mirror_B = jnp.asarray(random.random((40, 200)) < 0.5), jnp.arange(40) % 2 == 0
    masking_B, mirroring_B = view_keys(jax.random.key(0), jnp.arange(40), jnp.arange(40))
    how = {"may_mask_BT": may_BT, "mask_share": 0.3}
    shown_BT, same = augmented(tokens_BT, {"book": book_BTF}, masking_B, **how)
    masked_BT = shown_BT == MASK
    assert not (masked_BT & ~may_BT).any() and same["book"] is book_BTF
    np.testing.assert_array_equal(shown_BT[~masked_BT], tokens_BT[~masked_BT])
    assert float(masked_BT.sum() / may_BT.sum()) == pytest.approx(0.3, abs=0.03)
    other_BT, turned = augmented(tokens_BT, {"book": book_BTF}, masking_B, **how, mirror_B=mirror_B)
    expected = mirrored({"tokens": np.asarray(tokens_BT), "book": np.asarray(book_BTF)})
    np.testing.assert_array_equal(turned["book"][::2], expected["book"][::2])
    np.testing.assert_array_equal(turned["book"][1::2], book_BTF[1::2])
    np.testing.assert_array_equal(other_BT == MASK, masked_BT)
    np.testing.assert_array_equal(other_BT[::2][~masked_BT[::2]], expected["tokens"][::2][~masked_BT[::2]])
    coins = jax.vmap(jax.random.bernoulli)(mirroring_B)
    assert 8 < int(coins.sum()) < 32


@pytest.fixture
def contrastive(model_config, windows):
    """A model with a contrastive head, its parameters, and windows of different records."""
    base = model_config(dropout=0.0)
    config = dataclasses.replace(base, heads=dataclasses.replace(base.heads, contrastive_size=4))
    batch = {**windows(4), "example": np.arange(4, dtype=np.int32), "record": np.arange(4, dtype=np.int32)}
    batch["regime"] = np.zeros_like(batch["tokens"])
    return LOBTransformer(config), initial_parameters(config, jax.random.key(0)), batch


def test_views_that_are_not_changed_are_alike_and_changed_ones_differ(contrastive):
    model, params, batch = contrastive

    def loss(share, temperature, key=None):
        changes = {"contrastive_views": "augmented", "view_mask_share": share, "contrastive_temperature": temperature}
        objective = dataclasses.replace(NEXT_TOKEN, **changes)
        found = jax.jit(lambda key: summed_loss(params, batch, key, model=model, objective=objective)[1:])(key)
        return float(found[1]["contrastive"] / found[0])

    cold = 1e-3  # where only the likest row counts
    assert loss(0.0, cold) < 1e-3
    key = jax.random.key(0)
    assert loss(0.0, 1.0, key) == pytest.approx(loss(0.0, 1.0), rel=1e-5)  # there is no dropout
    assert loss(0.5, 1.0, key) != pytest.approx(loss(0.0, 1.0), rel=1e-5)
