"""FGM and PGD against gradients by hand, and what they do to a model's loss."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.models.apply import apply
from lob_jax.models.layers import example_keys
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.training.step.adversarial import ascend, directions, inside_ball, norms, projected, worst_addition
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.parts import summed_loss

B, T, D = 3, 4, 2
KEYS = example_keys(jax.random.key(0), jnp.arange(B))


def arrays(seed=0):
    """Return embeddings, slopes and which tokens are not padding."""
    random = np.random.default_rng(seed)
    embedded, slope = (random.standard_normal((B, T, D)).astype(np.float32) for _ in range(2))
    real = np.ones((B, T), bool)
    real[1, 2:] = False
    return jnp.asarray(embedded), jnp.asarray(slope), jnp.asarray(real)


def test_fgm_of_a_linear_loss_by_hand():
    embedded, slope, real = arrays()
    added = worst_addition(lambda r: (slope * r).sum(), embedded, real, KEYS, kind="fgm", eps=0.2, steps=3)
    for b in range(B):
        inside = np.asarray(real)[b]
        e, g = np.asarray(embedded)[b][inside], np.asarray(slope)[b][inside]
        expected = 0.2 * np.linalg.norm(e) * g / np.linalg.norm(g)
        np.testing.assert_allclose(added[b][inside], expected, rtol=1e-5)
        assert (added[b][~inside] == 0).all()


def test_fgm_is_one_step_as_long_as_the_radius():
    embedded, slope, real = arrays()

    def loss(r):
        return (slope * jnp.sin(r)).sum() + jnp.square(r).sum()

    added = worst_addition(loss, embedded, jnp.ones_like(real), KEYS, kind="fgm", eps=0.5, steps=1)
    radius = 0.5 * norms(embedded)
    once = ascend(jax.grad(loss), jnp.zeros_like(embedded), radius_B=radius, step_B=radius, steps=1)
    np.testing.assert_allclose(added, once, rtol=1e-6)
    beyond = ascend(jax.grad(loss), jnp.zeros_like(embedded), radius_B=radius, step_B=2.5 * radius, steps=1)
    np.testing.assert_allclose(beyond, once, rtol=1e-5)  # projected back


@pytest.mark.parametrize("steps", [1, 5])
def test_pgd_stays_in_its_ball_and_reaches_its_edge(steps):
    embedded, slope, real = arrays()

    def rounded(r):  # of a loss that is computed in bfloat16
        return ((slope * r).astype(jnp.bfloat16).sum() + jnp.square(r.astype(jnp.bfloat16)).sum()).astype(jnp.float32)

    added = worst_addition(rounded, embedded, real, KEYS, kind="pgd", eps=0.3, steps=steps)
    radius = 0.3 * norms(jnp.where(real[..., None], embedded, 0))
    assert added.dtype == jnp.float32
    assert (norms(added) <= radius * (1 + 1e-6)).all() and (norms(added) > 0.9 * radius).all()
    assert (added[~real] == 0).all()


def test_pgd_finds_what_one_step_does_not():
    """A loss whose slope at 0 misleads: it rises to the right at first, and more and farther upwards."""
    embedded = jnp.full((1, 1, 2), 10.0)

    def loss(r):
        x, y = r[0, 0]
        return x - x**2 + 0.9 * y + y**2

    found = {
        kind: worst_addition(loss, embedded, jnp.ones((1, 1), bool), KEYS[:1], kind=kind, eps=0.1, steps=steps)
        for kind, steps in (("fgm", 1), ("pgd", 10))
    }
    assert float(loss(found["pgd"])) > float(loss(found["fgm"])) + 0.5


def test_projection_and_directions_by_hand():
    r = jnp.asarray([[[3.0, 4.0]], [[0.3, 0.4]], [[0.0, 0.0]]])
    np.testing.assert_allclose(projected(r, jnp.ones(3)), [[[0.6, 0.8]], [[0.3, 0.4]], [[0, 0]]], rtol=1e-6)
    tiny = jnp.asarray([[[3e-30, 4e-30]], [[jnp.nan, 1.0]], [[0.0, 0.0]]])
    np.testing.assert_allclose(directions(tiny), [[[0.6, 0.8]], [[0, 0]], [[0, 0]]], rtol=1e-6)


def test_random_starts_fill_the_ball_evenly():
    """Half of the volume of a disc is within sqrt(1/2) of its radius."""
    keys = example_keys(jax.random.key(1), jnp.arange(2000))
    start = inside_ball(keys, jnp.zeros((2000, 1, 2)), jnp.full(2000, 3.0))
    assert float(norms(start).max()) <= 3.0
    assert float((norms(start) < 3 / np.sqrt(2)).mean()) == pytest.approx(0.5, abs=0.05)
    assert jnp.abs(start.mean((0, 1))).max() < 0.2


@pytest.fixture(scope="module")
def model(model_config, windows):
    """Return a function of a dtype: a model without dropout, its parameters, and windows."""

    @functools.cache
    def of(**changes):
        config = model_config(dropout=0.0, **changes)
        batch = {**windows(4), "example": np.arange(4, dtype=np.int32)}
        return LOBTransformer(config), initial_parameters(config, jax.random.key(0)), batch

    return of


def test_what_is_added_is_added_to_the_embedding_of_a_token(model):
    network, params, batch = model()
    tokens = jnp.asarray(batch["tokens"][:1, :5])
    known = {name: jnp.asarray(batch[name][:1, :5]) for name in ("book",)}
    r = jnp.asarray(np.random.default_rng(0).normal(0, 0.02, (1, 5, 16)), jnp.float32)
    row = params["embeddings"]["token"]["table"].at[tokens[0]].add(r[0])  # each token occurs once
    embeddings = {**params["embeddings"], "token": {"table": row}}
    moved = apply(network, {"params": {**params, "embeddings": embeddings}}, tokens, known, method="stream")[0]
    added = apply(network, {"params": params}, tokens, known, added_BTD=r, method="stream")[0]
    np.testing.assert_allclose(added, moved, rtol=1e-5, atol=1e-5)
    plain = apply(network, {"params": params}, tokens, known, method="stream")[0]
    assert jnp.abs(added - plain).max() > 1e-3


def loss_of(model, objective, batch=None):
    """Return the jitted sums and gradients of a model's loss, as a function of parameters and key."""
    network, _, own = model
    batch = own if batch is None else batch

    def sums(params, key):
        total, weight, parts = summed_loss(params, batch, key, model=network, objective=objective)
        return total, (weight, parts)

    return jax.jit(jax.value_and_grad(sums, has_aux=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fgm", "pgd"])
def test_the_loss_is_the_clean_one_and_a_higher_one_which_does_not_depend_on_the_batch(model, kind):
    objective = dataclasses.replace(NEXT_TOKEN, adversarial=kind, adversarial_eps=0.5, adversarial_weight=0.25)
    of, key = model(), jax.random.key(3)
    (total, (weight, parts)), gradients = loss_of(of, objective)(of[1], key)
    clean, adversarial = float(parts["token"]), float(parts["adversarial"])
    assert float(total) == pytest.approx(clean + 0.25 * adversarial, rel=1e-6)
    assert adversarial > clean + 0.01 * float(weight)
    last = {name: leaf[2:] for name, leaf in of[2].items()}
    first = {name: leaf[:2] for name, leaf in of[2].items()}
    halves = [loss_of(of, objective, half)(of[1], key) for half in (first, last)]
    assert sum(float(half[0][1][1]["adversarial"]) for half in halves) == pytest.approx(adversarial, rel=1e-5)
    both = jax.tree.map(jnp.add, halves[0][1], halves[1][1])
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(both), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)


def test_no_gradient_flows_through_the_perturbation():
    """r depends on w, by the slope of sum(w r) and by the radius; d/dw sum(w r^3) is r^3 where r is a constant."""
    embedded, w, real = arrays()

    def adversarial(w):
        r = worst_addition(
            lambda r: (w * r).sum(), embedded * w, jnp.ones_like(real), KEYS, kind="fgm", eps=1.0, steps=1
        )
        return (w * r**3).sum(), r

    gradient, r = jax.grad(adversarial, has_aux=True)(w)
    np.testing.assert_allclose(gradient, r**3, rtol=1e-6)


def test_validation_is_not_adversarial(model):
    network, params, batch = model()
    objective = dataclasses.replace(NEXT_TOKEN, adversarial="pgd")
    with_it, without = (
        jax.jit(functools.partial(summed_loss, model=network, objective=one))(params, batch, None)
        for one in (objective, NEXT_TOKEN)
    )
    assert float(with_it[0]) == float(without[0]) and with_it[2] == {}
