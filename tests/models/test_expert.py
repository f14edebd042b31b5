"""The count model inside the model: its tables against dictionaries of counts, and what it adds to the logits."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.book.anchors import ANCHORS, LEVELS, SIDE_ANCHORS
from lob_jax.book.queue import QUEUE_NUMBERS
from lob_jax.errors import InputError
from lob_jax.events.schema import Kind
from lob_jax.models import expert
from lob_jax.models.expert import CHAINS, OWN, TABLES, Part
from lob_jax.models.transformer import LOBTransformer, empty_cache
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.latest import OF_EACH
from lob_jax.training.run.count_tables import fit_tables

RECORDS, WINDOWS, T = 40, 2, 24
PLACES = {Part.ADD: 1_000 * Kind.ADD, Part.DELETE: 1_000 * Kind.DELETE, Part.SIZE: v.SIZE, Part.GAP: v.TIME}


@pytest.fixture(name="config")
def config_fixture(tiny):
    changes = {"vocab_size": v.VOCAB_SIZE, "queue_state": True, "pointer": True, "counts": 2**13}
    return dataclasses.replace(tiny(**changes), max_seq_length=T)


def batch_of(records, seed):
    """Return windows of few different tokens in few different places, WINDOWS of each record."""
    random, shape = np.random.default_rng(seed), (len(records) * WINDOWS, T + 1)
    heads = np.array([1_000 * kind + 500 * side + code for kind in (1, 3) for side in (0, 1) for code in (0, 1, 3)])
    sizes, gaps = v.SIZE + np.array([1, 5, 10]), v.TIME + np.array([0, 12, 250])
    every = np.stack([random.choice(tokens, shape) for tokens in (heads, sizes, gaps)], axis=-1)
    latest = np.repeat(every, OF_EACH, axis=-1)
    return {
        "tokens": np.take_along_axis(every, np.arange(T + 1)[None, :, None] % 3, axis=-1)[..., 0],
        "scored": random.random(shape) < 0.9,
        "latest": latest.astype(np.int16),
        "queue": random.choice([0, 5], (*shape, QUEUE_NUMBERS)).astype(np.int16),
        "anchors": np.tile(np.arange(ANCHORS) % SIDE_ANCHORS % LEVELS + 1, (*shape, 1)).astype(np.int16),
        "record": np.repeat(records, WINDOWS),
        "position": np.tile(np.arange(WINDOWS) * T, len(records)),
    }


def conditioning_of(batch):
    return {name: jnp.asarray(batch[name][:, :-1]) for name in ("latest", "queue", "anchors")}


def looked_up(config, groups, batch, *, block):
    """Return the probabilities at each token of a batch, by part, with the counts of a block taken off."""
    tables = expert.CountTables(config)
    params = {name: jnp.asarray(leaf) for name, leaf in groups[TABLES].items()}
    block_BT1 = jnp.full((*batch["latest"][:, :-1].shape[:2], 1), block)
    counted = tables.apply({"params": params}, conditioning_of(batch), block_BT1)
    each = jnp.zeros(expert.CONTEXTS)
    gates = jnp.zeros((expert.GATES, config.d_model)), jnp.zeros(expert.GATES)
    own = expert.Own(*(jnp.asarray(groups[OWN][name]) for name in ("rows", "shortest")))
    held = expert.Tables(params["code"], params["count"], params["shortest"], each + 1, each - 1, *gates, own)
    return expert.probabilities(counted, held), counted, held


@pytest.fixture(name="fitted", scope="module")
def fitted_fixture():
    return batch_of(np.arange(RECORDS), 0)


@pytest.mark.parametrize("block", [expert.NO_BLOCK, 7])
def test_the_codes_of_each_chain_sum_to_one(config, fitted, block):
    groups = fit_tables(config, [fitted], records=RECORDS)
    found, _, _ = looked_up(config, groups, batch_of(np.arange(3), 1), block=block)
    for part, p in found.items():
        np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5, err_msg=part.name)
        assert p.min() > 0


def symbols_of(batch):
    """Return what each token counts as, [B, T]: its part, or -1, and its code; for DELETEs the first level there."""
    targets = batch["tokens"][:, 1:]
    part, low = np.full(targets.shape, -1), targets % 1_000
    for each, first in PLACES.items():
        part[targets // 1_000 == first // 1_000] = each
    codes = {Part.ADD: low % 500, Part.DELETE: low % 500, Part.SIZE: low, Part.GAP: expert.CLASS_OF_GAP[low]}
    return np.where(batch["scored"][:, 1:], part, -1), low // 500, np.stack([codes[each] for each in Part])


def by_dictionaries(fitted, seen, batch, where, discount, share):
    """Return the probability of the code that came at a place, from the fitted tokens that are seen."""
    sought = [expert.sought(conditioning_of(each)) for each in (fitted, batch)]
    (parts, sides, codes), (part, side, code) = symbols_of(fitted), symbols_of(batch)
    each = Part(int(part[where]))
    chain, mine = CHAINS[each], (parts == each) & seen
    before = sum(other.sides * len(other.bits) for name, other in CHAINS.items() if name < each)
    first = before + (int(side[where]) * len(chain.bits) if chain.sides == 2 else 0)
    kinds, kind = (np.asarray(one.kind_BT1)[..., 0] for one in sought)
    mine_here = mine & ((kinds == kind[where]) | (chain.groups == 1))
    wanted = int(code[each][where])
    counts = collections.Counter(codes[each][mine_here].tolist())
    p = (counts[wanted] + 0.5) / (counts.total() + 0.5 * chain.symbols)
    for length in range(len(chain.bits)):
        context = int(sought[1].hash_BTL[where][first + length])
        counts = collections.Counter()
        for s in range(chain.sides):
            column = before + s * len(chain.bits) + length
            same = mine & (np.asarray(sought[0].hash_BTL)[..., column] == context)
            counts.update(codes[each][same & (sides == s) if chain.sides == 2 else same].tolist())
        if counts:
            kept = {one: (1 - share) * max(often - discount, 0) / counts.total() for one, often in counts.items()}
            p = kept.get(wanted, 0) + (1 - sum(kept.values())) * p
    return p


@pytest.mark.parametrize("block", [expert.NO_BLOCK, 7])
def test_probabilities_are_those_of_dictionaries_of_counts_without_the_own_block(config, fitted, block):
    """With few codes and many rows, nothing is left out of the tables."""
    groups, batch = fit_tables(config, [fitted], records=RECORDS), batch_of(np.arange(14, 16), 2)
    found, _, held = looked_up(config, groups, batch, block=block)
    discount, share = (float(jax.nn.sigmoid(leaf[0])) for leaf in (held.discount_L, held.share_L))
    # Samples are in the order of records and positions; those of a block, and as many before and behind it as a window
    # is long, are left out.
    counted = symbols_of(fitted)[0] >= 0
    number = np.where(counted, np.cumsum(counted).reshape(counted.shape) - 1, -1)
    own = number[np.repeat(expert.block_of(np.arange(RECORDS), np.int64(RECORDS)) == block, WINDOWS)]
    own = own[own >= 0]
    seen = counted if block == expert.NO_BLOCK else counted & ((number < own.min() - T) | (number > own.max() + T))
    assert (counted & ~seen).any() == (block != expert.NO_BLOCK)
    part, side, code = symbols_of(batch)
    tried = collections.Counter()
    for where in zip(*np.nonzero(part >= 0), strict=True):
        each = Part(int(part[where]))
        if tried[each] == 6:
            continue
        tried[each] += 1
        at = (*where, int(side[where]), int(code[each][where])) if CHAINS[each].sides == 2 else None
        if each == Part.GAP:  # of a class; the code within it has a share of its own
            p = float(found[each][where][code[each][where] == expert.CLASS_OF_GAP].sum())
        else:
            p = float(found[each][at or (*where, int(code[each][where]))])
        expected = by_dictionaries(fitted, seen, batch, where, discount, share)
        np.testing.assert_allclose(p, expected, rtol=1e-4, err_msg=f"{each.name} {where}")
    assert set(tried.values()) == {6} and set(tried) == set(Part)


def test_a_market_and_its_mirror_image_share_their_contexts():
    batch = batch_of(np.arange(4), 3)
    random = np.random.default_rng(0)
    batch["anchors"] = random.integers(0, 12, batch["anchors"].shape).astype(np.int16)
    swapped = dict(batch)
    swapped["anchors"] = np.roll(batch["anchors"].reshape(*batch["anchors"].shape[:2], 2, -1), 1, axis=2)
    swapped["anchors"] = swapped["anchors"].reshape(batch["anchors"].shape)
    heads = batch["latest"][..., :OF_EACH]
    flipped = heads // 1_000 * 1_000 + (heads % 1_000 + 500) % 1_000
    swapped["latest"] = np.concatenate([flipped, batch["latest"][..., OF_EACH:]], axis=-1)
    one, other = (np.asarray(expert.sought(conditioning_of(each)).hash_BTL) for each in (batch, swapped))
    first = 0
    for chain in CHAINS.values():
        length = len(chain.bits)
        columns = [slice(first + s * length, first + (s + 1) * length) for s in range(chain.sides)]
        for here, there in zip(columns, reversed(columns), strict=True):
            np.testing.assert_array_equal(one[..., here], other[..., there])
        first += chain.sides * length
    assert len(np.unique(one)) > 100


def test_logits_are_those_of_the_mixture(config, fitted):
    groups, batch = fit_tables(config, [fitted], records=RECORDS), batch_of(np.arange(2), 4)
    p, counted, held = looked_up(config, groups, batch, block=expert.NO_BLOCK)
    random, shape = np.random.default_rng(5), batch["tokens"][:, 1:].shape
    logits = random.normal(0, 2, (*shape, v.VOCAB_SIZE)).astype(np.float32)
    x, kernel = random.normal(size=(*shape, config.d_model)), random.normal(0, 0.3, (expert.GATES, config.d_model))
    held = held._replace(gate_GD=jnp.asarray(kernel, jnp.float32), gate_G=jnp.arange(expert.GATES) - 3.0, own=None)
    found = np.asarray(expert.add_counts(jnp.asarray(logits), jnp.asarray(x, jnp.float32), counted, held))
    gate, total = x @ kernel.T + np.arange(expert.GATES) - 3.0, np.exp(logits.astype(np.float64))
    for b, t in np.ndindex(*shape):
        for side in range(2):
            at = 500 * side + np.arange(500)
            total[b, t, PLACES[Part.ADD] + at] += np.exp(gate[b, t, side]) * p[Part.ADD][b, t, side]
            for level in range(LEVELS):
                low = int(counted.level_BTC[b, t].reshape(2, LEVELS)[side, level])
                total[b, t, PLACES[Part.DELETE] + low] += (
                    np.exp(gate[b, t, 2 + side]) * p[Part.DELETE][b, t, side, level]
                )
        for part, column in ((Part.SIZE, 4), (Part.GAP, 5)):
            at = PLACES[part] + np.arange(1_000)
            total[b, t, at] += np.exp(gate[b, t, column]) * np.asarray(p[part][b, t], np.float64)
    np.testing.assert_allclose(found, np.log(total), rtol=1e-4, atol=1e-4)
    shut = held._replace(gate_G=jnp.full(expert.GATES, -1e9))
    np.testing.assert_array_equal(expert.add_counts(jnp.asarray(logits), jnp.asarray(x), counted, shut), logits)


def test_cached_logits_are_those_of_the_whole_sequence(config, fitted, lively, inputs):
    groups, batch = fit_tables(config, [fitted], records=RECORDS), batch_of(np.arange(1), 7)
    params = {**lively(config), TABLES: jax.tree.map(jnp.asarray, groups[TABLES])}
    tokens_BT, conditioning = inputs(config, len(batch["tokens"]), 6)
    read = {name: leaf[:, :6] for name, leaf in conditioning_of(batch).items()}
    model, conditioning = LOBTransformer(config), {**conditioning, **read}
    step = jax.jit(lambda token, beside, cache: model.apply({"params": params}, token, beside, cache=cache))
    whole, (cache, parts) = model.apply({"params": params}, tokens_BT, conditioning), (empty_cache(config, 2, 6), [])
    for t in range(6):
        beside = {name: leaf[:, t : t + 1] for name, leaf in conditioning.items()}
        logits, cache = step(tokens_BT[:, t : t + 1], beside, cache)
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-5, atol=1e-5)


def test_tables_get_no_gradient_and_gates_do(config, fitted, lively, inputs):
    groups, batch = fit_tables(config, [fitted], records=RECORDS), batch_of(np.arange(2), 6)
    params = {**lively(config), TABLES: jax.tree.map(jnp.asarray, groups[TABLES])}
    tokens_BT, conditioning = inputs(config, len(batch["tokens"]), T)
    model, conditioning = LOBTransformer(config), {**conditioning, **conditioning_of(batch)}
    targets_BT = jnp.asarray(batch["tokens"][:, 1:])

    @jax.jit
    @jax.grad
    def gradient(params):
        logits_BTV = model.apply({"params": params}, tokens_BT, conditioning)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits_BTV), targets_BT[..., None], axis=-1).mean()

    found = gradient(params)
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(found[TABLES]))
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(found["gates"]))


@pytest.mark.parametrize(
    "changes",
    [{"counts": 100}, {"counts": 8}, {"counts": -16}, {"pointer": False}],
    ids=["power", "few", "sign", "alone"],
)
def test_what_does_not_fit_is_refused(config, changes):
    with pytest.raises(InputError, match=r"model\.counts"):
        dataclasses.replace(config, **changes)
