"""Mixup by hand: the loss, its limits, its partners, and the same numbers on every layout."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.config.validation import validate
from lob_jax.configs import base
from lob_jax.errors import InputError
from lob_jax.models.apply import apply
from lob_jax.models.embeddings import Mixture
from lob_jax.models.masking import make_masks, places_of, target_nll
from lob_jax.models.transformer import LOBTransformer, initial_parameters
from lob_jax.tokens.exact import ExactTokenizer
from lob_jax.tokens.sets.shares import SHAPE
from lob_jax.tokens.vocabulary import MASK
from lob_jax.training.run.setup import compiled, initial_state, place_step, prepare_run
from lob_jax.training.step import parts as step_parts
from lob_jax.training.step.loss import Within, cross_entropy
from lob_jax.training.step.mixup import PARTNER, partners, scaled, shares, with_partners
from lob_jax.training.step.objective import NEXT_TOKEN
from lob_jax.training.step.parts import summed_loss
from lob_jax.training.step.step import summed_gradients

MIXED = dataclasses.replace(NEXT_TOKEN, mixup=0.4)
LAYOUTS = {"one device": {}, "pmap": {"parallel": "pmap"}, "data 8": {}, "fsdp 4 x tensor 2": {"fsdp": 4, "tensor": 2}}
EXACTLY = {"xla_cpu_use_fusion_emitters": True}  # without them float64 is right to 1e-9 only


@pytest.fixture(scope="module")
def given(model_config, windows):
    """Return a model without dropout, its parameters, windows, and the same windows with others as partners."""
    config = model_config(dropout=0.0)
    batch = {**windows(4), "example": np.arange(4, dtype=np.int32)}
    other = {**windows(4, seed=1), "example": np.arange(4, dtype=np.int32)}
    return LOBTransformer(config), initial_parameters(config, jax.random.key(0)), batch, {**batch, PARTNER: other}


@pytest.fixture
def fixed_share(monkeypatch):
    """Return a function that fixes the share of each window in its mixture."""

    def fix(*share):
        monkeypatch.setattr(step_parts, "shares", lambda *_: jnp.asarray(share, jnp.float32))

    return fix


def loss_of(network, params, batch, objective=MIXED, **how):
    total, weight, _ = jax.jit(functools.partial(summed_loss, model=network, objective=objective, **how))(
        params, batch, jax.random.key(3)
    )
    return float(total), float(weight)


def test_the_loss_of_two_places_by_hand():
    """Logits ln 1, ln 2, ln 5: p is 1/8, 2/8, 5/8. The window is scored in both places, its partner in the first."""
    logits = jnp.log(jnp.asarray([[[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]]))
    share, nothing = jnp.asarray([0.25]), jnp.zeros((1, 2), jnp.int32)
    own = scaled((nothing, {}, jnp.asarray([[0, 2]]), jnp.asarray([[1.0, 1.0]])), share)
    other = scaled((nothing, {}, jnp.asarray([[1, 1]]), jnp.asarray([[1.0, 0.0]])), 1 - share)
    sums = [cross_entropy(logits, *task[2:]) for task in (own, other)]
    total, weight = (float(one + another) for one, another in zip(*sums, strict=True))
    assert total == pytest.approx(0.25 * (np.log(8) + np.log(8 / 5)) + 0.75 * np.log(4), rel=1e-6)
    assert weight == pytest.approx(0.25 * 2 + 0.75 * 1)


def test_a_window_alone_and_its_partner_alone_are_the_plain_losses(given, fixed_share):
    network, params, batch, mixed = given
    fixed_share(1.0, 1.0, 1.0, 1.0)
    assert loss_of(network, params, mixed) == pytest.approx(loss_of(network, params, batch, NEXT_TOKEN), rel=1e-6)
    fixed_share(0.0, 0.0, 0.0, 0.0)
    other = loss_of(network, params, mixed[PARTNER], NEXT_TOKEN)
    assert loss_of(network, params, mixed) == pytest.approx(other, rel=1e-6)
    assert other != pytest.approx(loss_of(network, params, batch, NEXT_TOKEN), rel=1e-3)


def test_a_window_that_is_mixed_with_itself_is_the_window(given, fixed_share):
    network, params, batch, _ = given
    fixed_share(0.3, 0.5, 0.7, 0.9)
    total, weight = loss_of(network, params, {**batch, PARTNER: batch})
    expected = loss_of(network, params, batch, NEXT_TOKEN)
    assert (total, weight) == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_that_of_the_mixed_embeddings_in_the_targets_of_both(given, fixed_share):
    """Every place by hand, from the logits of the mixture."""
    network, params, batch, mixed = given
    share = np.array([0.2, 0.4, 0.6, 0.8], np.float32)
    fixed_share(*share)
    known = {"book": batch["book"][:, :-1]}
    other = mixed[PARTNER]
    mixture = Mixture(other["tokens"][:, :-1], {"book": other["book"][:, :-1]}, jnp.asarray(share))
    logits = apply(network, {"params": params}, batch["tokens"][:, :-1], known, mixture=mixture)
    log_p = np.asarray(jax.nn.log_softmax(logits))
    total, weight = 0.0, 0.0
    for b in range(4):
        for t in range(12):
            for part, of in ((batch, share[b]), (other, 1 - share[b])):
                if part["scored"][b, t + 1]:
                    total -= of * log_p[b, t, part["tokens"][b, t + 1]]
                    weight += of
    assert loss_of(network, params, mixed) == pytest.approx((total, weight), rel=1e-5)


def test_embeddings_are_mixed_behind_their_norm_with_the_same_dropout(given, model_config):
    network = LOBTransformer(model_config(dropout=0.5))
    _, params, batch, mixed = given
    other, share = mixed[PARTNER], jnp.asarray([0.25, 0.5, 0.75, 1.0])
    places = jnp.broadcast_to(jnp.arange(12), (4, 12))
    keys = jax.random.split(jax.random.key(0), 4)

    def embedded(part):
        def of(module):
            return module.embeddings(part["tokens"][:, :-1], places, {"book": part["book"][:, :-1]}, keys)

        return network.apply({"params": params}, method=of)

    one, another = embedded(batch), embedded(other)
    expected = share[:, None, None] * one + (1 - share[:, None, None]) * another
    mixture = Mixture(other["tokens"][:, :-1], {"book": other["book"][:, :-1]}, share)
    np.testing.assert_allclose(mixture.mixed(one, another), expected, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(one) == 0, np.asarray(another) == 0)  # dropped in both, or in neither


@pytest.mark.slow
def test_each_window_is_scored_in_its_own_sets(model_config, fixed_share):
    config = model_config(dropout=0.0, mask="grammar", vocab_size=10_000, book_state=False)
    network, tokenizer = LOBTransformer(config), ExactTokenizer()
    params = initial_parameters(config, jax.random.key(0))
    masks = make_masks(tokenizer.grammar, np.zeros(SHAPE))
    random = np.random.default_rng(0)
    grammar = np.flatnonzero(tokenizer.grammar.allowed.sum(1) > 1)
    one, other = (
        {
            "tokens": random.integers(0, 10_000, (2, 13)).astype(np.int32),
            "state": random.choice(grammar, (2, 13)).astype(np.int16),
            "scored": np.ones((2, 13), bool),
            "example": np.arange(2, dtype=np.int32),
        }
        for _ in range(2)
    )
    for part in (one, other):  # targets that their own grammar allows
        for b in range(2):
            for t in range(12):
                part["tokens"][b, t + 1] = random.choice(np.flatnonzero(tokenizer.grammar.allowed[part["state"][b, t]]))
    fixed_share(0.25, 0.75)
    mixture = Mixture(other["tokens"][:, :-1], {}, jnp.asarray([0.25, 0.75]))
    logits = apply(network, {"params": params}, one["tokens"][:, :-1], {}, mixture=mixture)
    nll = [
        np.asarray(
            target_nll(logits, part["tokens"][:, 1:], places_of(*Within({"state": part["state"][:, :-1]}, masks)))
        )
        for part in (one, other)
    ]
    share = np.array([[0.25], [0.75]])
    expected = (share * nll[0] + (1 - share) * nll[1]).sum()
    total, weight = loss_of(network, params, {**one, PARTNER: other}, masks=masks)
    assert total == pytest.approx(float(expected), rel=1e-5) and weight == pytest.approx(24)


def test_nothing_is_mixed_without_a_key(given):
    network, params, batch, _ = given
    losses = [
        float(jax.jit(functools.partial(summed_loss, model=network, objective=one))(params, batch, None)[0])
        for one in (MIXED, NEXT_TOKEN)
    ]
    assert losses[0] == losses[1]


def test_partners_are_a_permutation_by_number():
    key, example = jax.random.key(1), np.array([3, 0, 2, 7, 5, 1], np.int32)
    of = dict(zip(example.tolist(), example[partners(example, key)].tolist(), strict=True))
    assert sorted(of.values()) == sorted(example.tolist()) and any(one != other for one, other in of.items())
    order = np.array([5, 2, 4, 0, 1, 3])
    again = example[order]
    assert of == dict(zip(again.tolist(), again[partners(again, key)].tolist(), strict=True))
    assert of != dict(zip(example.tolist(), example[partners(example, jax.random.key(2))].tolist(), strict=True))


def test_partners_come_from_every_micro_step(windows):
    batch = {**windows(12), "example": np.arange(12, dtype=np.int32)}
    cut = {name: leaf.reshape(3, 4, *leaf.shape[1:]) for name, leaf in batch.items()}
    paired = with_partners(cut, jax.random.key(0))
    other = np.asarray(paired[PARTNER]["example"])
    assert sorted(other.ravel().tolist()) == list(range(12))
    assert (other // 4 != np.arange(3)[:, None]).any()
    np.testing.assert_array_equal(paired[PARTNER]["book"], batch["book"][other])
    np.testing.assert_array_equal(paired["tokens"], cut["tokens"])


def test_shares_are_those_of_the_beta_distribution_and_of_a_window():
    found = np.asarray(shares(jax.random.key(0), jnp.arange(4000), 0.4))
    assert found.dtype == np.float32 and (found >= 0).all() and (found <= 1).all()
    assert found.mean() == pytest.approx(0.5, abs=0.03)
    assert found.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)
    np.testing.assert_array_equal(shares(jax.random.key(0), jnp.arange(3000, 3010), 0.4), found[3000:3010])
    assert (found != np.asarray(shares(jax.random.key(1), jnp.arange(4000), 0.4))).mean() > 0.9


@pytest.mark.slow
def test_a_step_does_not_depend_on_its_micro_steps(given):
    network, params, batch, _ = given
    sums = []
    for shape in ((1, 4), (2, 2), (4, 1)):
        cut = {name: leaf.reshape(*shape, *leaf.shape[1:]) for name, leaf in batch.items()}
        step = jax.jit(functools.partial(summed_gradients, model=network, objective=MIXED))
        gradients, total, weight, parts = step(params, cut, jax.random.key(5))
        assert parts == {}
        sums.append((float(total), float(weight), jax.tree.map(np.asarray, gradients)))
    for total, weight, gradients in sums[1:]:
        assert (total, weight) == pytest.approx(sums[0][:2], rel=1e-5)
        for one, other in zip(*map(jax.tree.leaves, (gradients, sums[0][2])), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def after(model_config, train_config, windows):
    """Return a function: parameters and metrics after two steps, of two micro-steps of 8 windows each."""
    batch = windows(16)
    hidden_BT = np.random.default_rng(0).random(batch["tokens"].shape) < 0.3

    @functools.cache
    def of(layout, *, hides=True, mixup=0.4):
        changes = {"batch_size": 8, "accumulation": 2, "micro_batch": None, "warmup_steps": 0, "mixup": mixup}
        shown = np.where(hidden_BT & hides, MASK, batch["tokens"]).astype(np.int32)
        with jax.enable_x64(True):
            run = prepare_run(
                model_config(dtype="float64"),
                train_config(**changes, **LAYOUTS[layout]),
                total_steps=5,
                validation=[windows(8)],
                seed=0,
                devices=jax.devices()[: 1 if layout == "one device" else 8],
                before=None,
                also=("shown",),
            )
            run = compiled(run, EXACTLY)
            state = initial_state(run)
            for _ in range(2):
                state, metrics = run.train_step(state, place_step(run, [{**batch, "shown": shown}]))
            return jax.tree.map(np.asarray, state.params), {name: float(value) for name, value in metrics.items()}

    return of


@pytest.mark.slow
@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "one device"])
def test_a_mixed_step_of_hidden_tokens_is_that_of_one_device(after, layout):
    (params, metrics), (expected, wanted) = after(layout), after("one device")
    for name in ("loss", "gradient_norm", "scored"):
        assert metrics[name] == pytest.approx(wanted[name], rel=1e-8)
    worst = max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (params, expected)), strict=True))
    assert worst < 1e-8


@pytest.mark.slow
def test_both_augmentations_of_tokens_reach_the_step(after):
    losses = {after("one device", **how)[1]["loss"] for how in ({}, {"hides": False}, {"mixup": 0.0})}
    assert len({round(loss, 4) for loss in losses}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"train.objective": "masked", "model.causal": False},
        {"model.heads.next_tokens": 2},
        {"model.heads.contrastive_size": 8},
        {"train.adversarial": "fgm"},
        {"model.attention.cross_asset": True},
    ],
)
def test_what_cannot_be_mixed_is_refused(change):
    config = base.get_config()
    config.train.mixup = 0.2
    validate(config)
    config.update_from_flattened_dict(change)
    with pytest.raises(InputError, match=r"config.train.mixup(?s:.*)next tokens of one instrument alone"):
        validate(config)
