"""A count model as an expert inside the model: tokens that came in the same place before, beside the softmax.

A network learns a rare habit of a market only from many examples; a table of counts knows it from two. So four chains
of contexts count the price codes of ADDs given their side, the levels that DELETEs of a side take from, sizes, and
classes of gaps. Their items are functions of the model's inputs, and relative to a side, so that a market and its
mirror image share them. A chain is interpolated: with the counts n(h, c) of code c in context h, and h' the context one
item shorter,

  p(c | h) = (1 - w) max(n(h, c) - D, 0) / n(h) + (what the codes of h leave) p(c | h'),

so that it sums to one. In the shortest context, half a count is added to each code. D and w of each length are trained.
The logit of a token becomes log(exp(logit) + exp(gate) p), where the gate of each chain, and of each side of heads,
depends on the network's state: a mixture of the network and the chains, normalised over the tokens that may come like
any logits. Temperature and truncation therefore act on the mixture.

The contexts are found by hashes, in tables of fixed sizes. A row is that of its most frequent context and has its most
frequent codes; what other codes had is left to the shorter context. Tables are parameters that are never trained;
`lob_jax.training.run.count_tables` fills them. In training, the counts of an event's own block of events, one of
BLOCKS, are taken off, or a gate would learn to trust what has seen the answer.
"""

import enum
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lob_jax.book.anchors import LEVELS, SIDE_ANCHORS, AnchorColumn
from lob_jax.book.queue import QueueColumn
from lob_jax.events.schema import Kind
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning, given
from lob_jax.models.layers import project, weight_init
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.latest import OF_EACH

TABLES = "counts"  # key of the group of the tables among the parameters of a model
OWN = "own_counts"  # key of the group of the blocks' own counts, beside the parameters of a model in training
OWN_NAMES = ("rows", "shortest", "records")
BLOCKS = 20  # contiguous blocks of training events
NO_BLOCK = -1
CODES = 8  # codes of a row
SMOOTHING = 0.5  # added to each count of the shortest context
INITIAL_GATE, INITIAL_DISCOUNT, INITIAL_SHARE = -2.5, 0.9, 0.4
MOST_ABOVE = 75.0  # of a gate above a logit: its exponential is finite
NEAR = 6  # ticks between two prices are at most this, either way
NO_PRICE = 999

KINDS = int(Kind.CROSS) + 1  # of the last head: 0 before the first
_DECADES = 1 + max(v.split_number_code(code)[1] for code in range(v.CLASS_SIZE))
GAP_CLASSES = 10 + 4 * _DECADES


def _gap_class(code: np.ndarray) -> np.ndarray:
    """Return the class of each code of a gap: codes 0..9, then quarters of each decade."""
    lead = 10 + (code - 10) % 90
    quarter = (lead >= 18).astype(int) + (lead >= 32) + (lead >= 56)
    return np.where(code < 10, code, 10 + 4 * ((code - 10) // 90) + quarter)


CLASS_OF_GAP = _gap_class(np.arange(v.CLASS_SIZE))


class Part(enum.IntEnum):
    """What a chain counts, in the order of their tables."""

    ADD = 0
    DELETE = 1
    SIZE = 2
    GAP = 3


class Chain(NamedTuple):
    """The tables of a chain.

    Attributes:
      symbols: number of codes.
      groups: number of shortest contexts.
      sides: 2 for a chain that is looked up for each side, else 1.
      bits: of each longer context, the binary logarithm of the rows that it has at most.
    """

    symbols: int
    groups: int
    sides: int
    bits: tuple[int, ...]


CHAINS = {
    Part.ADD: Chain(v.ASK_OFFSET, 1, 2, (6, 11, 20, 20)),
    Part.DELETE: Chain(LEVELS, 1, 2, (6, 8, 12, 20, 20)),
    Part.SIZE: Chain(v.CLASS_SIZE, KINDS, 1, (8, 20, 20, 20)),
    Part.GAP: Chain(GAP_CLASSES, KINDS, 1, (7, 10, 12, 20)),
}
CONTEXTS = sum(len(chain.bits) for chain in CHAINS.values())
LOOKUPS = sum(chain.sides * len(chain.bits) for chain in CHAINS.values())
GATES = sum(chain.sides for chain in CHAINS.values())
# The context of each look-up: both sides of a chain have the same.
_firsts = np.cumsum([0, *(len(chain.bits) for chain in CHAINS.values())])
CONTEXT_OF = np.concatenate(
    [
        np.tile(np.arange(first, first + len(chain.bits)), chain.sides)
        for first, chain in zip(_firsts, CHAINS.values(), strict=False)
    ]
)
_SHORTEST = np.cumsum([0, *(chain.groups * chain.symbols for chain in CHAINS.values())])
GAP_CODES = slice(int(_SHORTEST[-1]), int(_SHORTEST[-1]) + v.CLASS_SIZE)  # of the shortest contexts: codes of gaps
SHORTEST = GAP_CODES.stop


def shortest_of(part: Part) -> slice:
    """Return where the shortest contexts of a chain are among those of all."""
    return slice(int(_SHORTEST[part]), int(_SHORTEST[part + 1]))


def table_rows(config: ModelConfig) -> np.ndarray:
    """Return the number of rows of each context's table, int64 [CONTEXTS], powers of two."""
    return np.array([min(config.counts, 1 << bits) for chain in CHAINS.values() for bits in chain.bits])


class Sought(NamedTuple):
    """What is looked up at each token.

    Attributes:
      hash_BTL: uint32, the hash of each context.
      kind_BT1: int32, the kind of the last head, which determines the shortest context of sizes and gaps.
      level_BTC: int32, for the levels of both sides, the low part of a head at the price; CLASS_SIZE for none.
    """

    hash_BTL: jax.Array
    kind_BT1: jax.Array
    level_BTC: jax.Array


class Counted(NamedTuple):
    """What a `Sought` found; arrays as there.

    Attributes:
      row_BTL: int32, rows of the tables; the row behind the last for a context that has none.
      kind_BT1, level_BTC: as in `Sought`.
      block_BT1: int32, the block whose own counts are taken off; NO_BLOCK for none.
    """

    row_BTL: jax.Array
    kind_BT1: jax.Array
    level_BTC: jax.Array
    block_BT1: jax.Array


class Own(NamedTuple):
    """The counts of each block and of the events next to it, uint16.

    Attributes:
      rows_KRC: [BLOCKS, R + 1, CODES + 1], of `Tables.count_RC`.
      shortest_KN: [BLOCKS, SHORTEST].
    """

    rows_KRC: jax.Array
    shortest_KN: jax.Array


class Tables(NamedTuple):
    """The parameters of the expert; R is the number of rows of all tables, and the row behind them is empty.

    Attributes:
      code_RC: the most frequent codes of each row, [R + 1, CODES].
      count_RC: their counts and that of all codes of the context, [R + 1, CODES + 1].
      shortest_N: counts of the shortest contexts of all chains and of all codes of gaps, [SHORTEST].
      discount_L, share_L: D and w by context, as logits, [CONTEXTS].
      gate_GD, gate_G: the gates.
      own: what may be taken off in training; None otherwise.
    """

    code_RC: jax.Array
    count_RC: jax.Array
    shortest_N: jax.Array
    discount_L: jax.Array
    share_L: jax.Array
    gate_GD: jax.Array
    gate_G: jax.Array
    own: Own | None = None


class CountTables(nn.Module):
    """The tables, which are zero until `lob_jax.training.run.count_tables` fills them; they are never trained."""

    config: ModelConfig

    def setup(self) -> None:
        rows, full, zeros = int(table_rows(self.config).sum()), self.config.param_dtype, nn.initializers.zeros
        self.key = self.param("key", zeros, (rows,), full)  # of the context, 1 .. 2^24 - 1, exact in float32
        self.code = self.param("code", zeros, (rows + 1, CODES), full)
        self.count = self.param("count", zeros, (rows + 1, CODES + 1), full)
        self.shortest = self.param("shortest", zeros, (SHORTEST,), full)

    def __call__(self, conditioning: Conditioning, block_BT1: jax.Array) -> Counted:
        """Look up the contexts at each token."""
        hash_BTL, kind_BT1, level_BTC = sought(conditioning)
        row_BTL = rows_of_hashes(hash_BTL, self.config)
        found_BTL = self.key[row_BTL].astype(jnp.int32) == keys_of_hashes(hash_BTL)
        return Counted(jnp.where(found_BTL, row_BTL, len(self.key)), kind_BT1, level_BTC, block_BT1)


class Gates(nn.Module):
    """The trained parameters of the expert."""

    config: ModelConfig

    def setup(self) -> None:
        full, constant = self.config.param_dtype, nn.initializers.constant
        self.kernel = self.param("kernel", weight_init(), (GATES, self.config.d_model), full)
        self.bias = self.param("bias", constant(INITIAL_GATE), (GATES,), full)
        self.discount = self.param("discount", constant(_logit(INITIAL_DISCOUNT)), (CONTEXTS,), full)
        self.share = self.param("share", constant(_logit(INITIAL_SHARE)), (CONTEXTS,), full)

    def __call__(self, counts: CountTables, own: Own | None) -> Tables:
        """Return all parameters of the expert."""
        # No gradient would ever reach a code, but the counts are as constant.
        held = jax.lax.stop_gradient((counts.code, counts.count, counts.shortest))
        return Tables(*held, self.discount, self.share, self.kernel, self.bias, own)


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def rows_of_hashes(hash_BTL: jax.Array, config: ModelConfig) -> jax.Array:
    """Return the rows that contexts have in the tables of all contexts, int32 [B, T, LOOKUPS]."""
    size = table_rows(config)
    first = np.cumsum([0, *size[:-1]])
    within_BTL = hash_BTL & (size[CONTEXT_OF] - 1).astype(np.uint32)
    return within_BTL.astype(jnp.int32) + first[CONTEXT_OF].astype(np.int32)


def keys_of_hashes(hash_BTL: ArrayLike) -> jax.Array:
    """Return what tells contexts with the same row apart, int32 [B, T, LOOKUPS], 1 .. 2^24 - 1."""
    return jnp.maximum(_mixed(hash_BTL, jnp.uint32(1)) >> 8, 1).astype(jnp.int32)


def _mixed(hash_BT: ArrayLike, item_BT: jax.Array) -> jax.Array:
    """Return hashes extended by an item, uint32: a round of MurmurHash3's finaliser for each."""
    hash_BT = (jnp.asarray(hash_BT) ^ item_BT.astype(jnp.uint32)) * jnp.uint32(0x85EBCA6B)
    hash_BT = (hash_BT ^ (hash_BT >> 13)) * jnp.uint32(0xC2B2AE35)
    return hash_BT ^ (hash_BT >> 16)


def sought(conditioning: Conditioning) -> Sought:
    """Return what is looked up at each token, from the model's inputs there."""
    latest_BTL = given(conditioning, "latest").astype(jnp.int32)
    queue_BTQ = given(conditioning, "queue").astype(jnp.int32)
    anchors_BTA = given(conditioning, "anchors").astype(jnp.int32)
    anchors_BTSA = anchors_BTA.reshape(*anchors_BTA.shape[:2], 2, SIDE_ANCHORS)
    head_BT, size_BT = latest_BTL[..., 0], latest_BTL[..., OF_EACH]
    kind_BT, side_BT = head_BT // v.CLASS_SIZE, (head_BT % v.CLASS_SIZE >= v.ASK_OFFSET).astype(jnp.int32)
    pace_BT1, pace_BT2 = (_pace(latest_BTL[..., 2 * OF_EACH + k]) for k in range(2))

    # Of heads, with an axis of sides.
    side_S = np.arange(2)
    action_BTS = _relative(head_BT[..., None], side_S)
    added_BTS, before_BTS, removed_BTS = (
        anchors_BTSA[..., column] for column in (AnchorColumn.ADDED, AnchorColumn.ADDED + 1, AnchorColumn.REMOVED)
    )
    adds = (action_BTS, _far(added_BTS), _far(removed_BTS), size_BT[..., None])
    places = [_place(anchors_BTSA, anchor_BTS) for anchor_BTS in (added_BTS, removed_BTS, before_BTS)]
    deletes = (action_BTS, *places, pace_BT1[..., None])

    # Of the event of the last head, relative to its side.
    own_BTA = jnp.take_along_axis(anchors_BTSA, side_BT[..., None, None], axis=2)[..., 0, :]
    price_BT = head_BT % v.ASK_OFFSET + 1
    from_added_BT, from_removed_BT = (
        _apart(price_BT, own_BTA[..., column]) for column in (AnchorColumn.ADDED, AnchorColumn.REMOVED)
    )
    added_lots_BT, removed_lots_BT = (queue_BTQ[..., column] for column in (QueueColumn.ADDED, QueueColumn.REMOVED))
    sizes = (kind_BT, from_added_BT, added_lots_BT, from_removed_BT, removed_lots_BT)
    one_BT, other_BT = (_relative(latest_BTL[..., k], side_BT) for k in (1, 2))
    gaps = (kind_BT, one_BT, pace_BT1, other_BT, pace_BT2)

    code_BTSL = anchors_BTSA[..., :LEVELS]
    level_BTSL = jnp.where(code_BTSL > 0, code_BTSL - 1 + v.ASK_OFFSET * side_S[:, None], v.CLASS_SIZE)
    hashes = [_hashes(Part.ADD, adds), _hashes(Part.DELETE, deletes)]
    # The first item of sizes and gaps is their shortest context.
    hashes += [_hashes(part, items)[..., 1:] for part, items in ((Part.SIZE, sizes), (Part.GAP, gaps))]
    flat = [leaf.reshape(*kind_BT.shape, -1) for leaf in (*hashes, level_BTSL)]
    kind_BT1 = jnp.clip(kind_BT, 0, KINDS - 1)[..., None]
    return Sought(jnp.concatenate(flat[:-1], axis=-1), kind_BT1, flat[-1])


def _hashes(part: Part, items: tuple[jax.Array, ...]) -> jax.Array:
    """Return the hashes of contexts of 1, 2, ... items, in a further last axis."""
    shape = jnp.broadcast_shapes(*(item_BT.shape for item_BT in items))
    hash_BT, found = jnp.full(shape, int(part) + 1, jnp.uint32), []
    for item_BT in items:
        hash_BT = _mixed(hash_BT, item_BT)
        found.append(hash_BT)
    return jnp.stack(found, axis=-1)


def _relative(head_BT: jax.Array, side_BT: jax.Array | np.ndarray) -> jax.Array:
    """Return the kind of a head, and whether it is of the other side."""
    other_BT = (head_BT % v.CLASS_SIZE >= v.ASK_OFFSET) != (side_BT > 0)
    return 2 * (head_BT // v.CLASS_SIZE) + other_BT


def _pace(gap_BT: jax.Array) -> jax.Array:
    """Return the number of digits of a gap, from its leading token; 0 for less than 10 ns, -1 for none."""
    code_BT = gap_BT - v.TIME
    return jnp.where(code_BT < 0, -1, jnp.where(code_BT < 10, 0, 1 + (code_BT - 10) // 90))


def _ticks(anchor_BT: jax.Array) -> jax.Array:
    """Return by how many ticks the price of an anchor is deeper than the reference; escapes are some far prices."""
    code_BT = anchor_BT - 1
    return jnp.where(code_BT < v.BETTER_CODE, code_BT, v.BETTER_CODE - 1 - code_BT)


def _far(anchor_BT: jax.Array) -> jax.Array:
    return jnp.where(anchor_BT > 0, _ticks(anchor_BT), NO_PRICE)


def _apart(price_BT: jax.Array, anchor_BT: jax.Array) -> jax.Array:
    """Return how much deeper a price is than an anchor, up to NEAR ticks; NO_PRICE if there is no such anchor."""
    apart_BT = jnp.clip(_ticks(price_BT) - _ticks(anchor_BT), -NEAR, NEAR)
    return jnp.where(anchor_BT > 0, apart_BT, NO_PRICE)


def _place(anchors_BTSA: jax.Array, anchor_BTS: jax.Array) -> jax.Array:
    """Return twice the number of levels ahead of an anchor, plus 1 if there is one at its price; -1 for no anchor."""
    level_BTSL, anchor_BTS1 = anchors_BTSA[..., :LEVELS], anchor_BTS[..., None]
    better_BTS = ((level_BTSL > 0) & (_ticks(level_BTSL) < _ticks(anchor_BTS1))).sum(-1)
    return jnp.where(anchor_BTS > 0, 2 * better_BTS + (level_BTSL == anchor_BTS1).any(-1), -1)


def own_shapes(config: ModelConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of the group OWN: the counts of each block, see `Own`, and the number of training records."""
    rows = int(table_rows(config).sum()) + 1
    return {
        "rows": jax.ShapeDtypeStruct((BLOCKS, rows, CODES + 1), jnp.uint16),
        "shortest": jax.ShapeDtypeStruct((BLOCKS, SHORTEST), jnp.uint16),
        "records": jax.ShapeDtypeStruct((), jnp.int32),
    }


def block_of(record_BT: Any, records: Any) -> Any:
    """Return the block of each record of the training split."""
    return (record_BT * BLOCKS // records.clip(1)).clip(0, BLOCKS - 1)


def probabilities(counted: Counted, tables: Tables) -> dict[Part, jax.Array]:
    """Return the probability of each code by each chain, float32.

    [B, T, 2, 500] of the prices of ADDs, [B, T, 2, LEVELS] of the levels of DELETEs, for bids and asks; [B, T, 1000] of
    sizes and of gaps.
    """
    B, T, _ = counted.row_BTL.shape
    block_BT = counted.block_BT1[..., 0]
    discount_L, share_L = (jax.nn.sigmoid(leaf) for leaf in (tables.discount_L, tables.share_L))
    found, first, context = {}, 0, 0
    for part, chain in CHAINS.items():
        length = len(chain.bits)
        row = counted.row_BTL[..., first : first + chain.sides * length].reshape(-1, length)
        block = jnp.repeat(block_BT.reshape(-1), chain.sides)
        group = jnp.zeros_like(block) if chain.groups == 1 else counted.kind_BT1.reshape(-1)
        p = _shortest(tables, part, group, block)
        own = slice(context, context + length)
        p = _interpolated(p, row, block, tables, discount_L[own], share_L[own])
        found[part] = p.reshape(B, T, *((2,) if chain.sides == 2 else ()), chain.symbols)
        first, context = first + chain.sides * length, context + length
    found[Part.GAP] = found[Part.GAP][..., CLASS_OF_GAP] * _within_class(tables, block_BT)
    return found


def _off(counts: jax.Array, own_K: jax.Array | None, block: jax.Array, index: jax.Array) -> jax.Array:
    """Return counts without those of the blocks, at some indices of both; `block` broadcasts to `index`."""
    here = counts[index]
    if own_K is None:
        return here
    taken = own_K[jnp.maximum(block, 0), index].astype(here.dtype)
    kept = jnp.broadcast_to(block, index.shape) == NO_BLOCK
    return here - jnp.where(kept.reshape(*index.shape, *(1,) * (here.ndim - index.ndim)), 0, taken)


def _shortest(tables: Tables, part: Part, group_N: jax.Array, block_N: jax.Array) -> jax.Array:
    """Return the probabilities in the shortest context, [N, symbols]."""
    chain, where = CHAINS[part], shortest_of(part)
    count_GC = tables.shortest_N[where].reshape(chain.groups, chain.symbols)
    own_KGC = None if tables.own is None else tables.own.shortest_KN[:, where].reshape(-1, *count_GC.shape)
    smooth_NC = _off(count_GC, own_KGC, block_N, group_N) + SMOOTHING
    return smooth_NC / smooth_NC.sum(-1, keepdims=True)


def _within_class(tables: Tables, block_BT: jax.Array) -> jax.Array:
    """Return the probability of each code of a gap given its class, [B, T, 1000]; [1000] if no counts are left out."""
    count_C = tables.shortest_N[GAP_CODES]
    if tables.own is not None:
        taken_BTC = tables.own.shortest_KN[:, GAP_CODES][jnp.maximum(block_BT, 0)].astype(count_C.dtype)
        count_C -= jnp.where(block_BT[..., None] == NO_BLOCK, 0, taken_BTC)
    smooth_C = count_C + SMOOTHING
    shape = (*smooth_C.shape[:-1], GAP_CLASSES)
    total_C = jnp.zeros(shape, smooth_C.dtype).at[..., CLASS_OF_GAP].add(smooth_C)
    return smooth_C / total_C[..., CLASS_OF_GAP]


def _interpolated(
    p_NC: jax.Array,
    row_NL: jax.Array,
    block_N: jax.Array,
    tables: Tables,
    discount_L: jax.Array,
    share_L: jax.Array,
) -> jax.Array:
    """Return the probabilities in the longest context, from those in the shortest, [N, symbols]."""
    own_KRC = None if tables.own is None else tables.own.rows_KRC
    count_NLC = _off(tables.count_RC, own_KRC, block_N[:, None], row_NL)
    total_NL1 = jnp.maximum(count_NLC[..., -1:], 1)
    kept_NLC = (1 - share_L[:, None]) * jnp.maximum(count_NLC[..., :-1] - discount_L[:, None], 0) / total_NL1
    left_NL = 1 - kept_NLC.sum(-1)
    # The share of each context in the result: what all longer ones leave to it.
    longer_NL = jnp.flip(jnp.cumprod(jnp.flip(left_NL, axis=-1), axis=-1), axis=-1)
    weight_NL = jnp.concatenate([longer_NL[:, 1:], jnp.ones_like(longer_NL[:, :1])], axis=-1)
    code_NS = tables.code_RC[row_NL].astype(jnp.int32).reshape(row_NL.shape[0], -1)
    mass_NS = (kept_NLC * weight_NL[..., None]).reshape(code_NS.shape)
    row_N1 = jnp.arange(row_NL.shape[0])[:, None]
    return (p_NC * longer_NL[:, :1]).at[row_N1, code_NS].add(mass_NS, mode="promise_in_bounds")


def add_counts(logits_BTV: jax.Array, x_BTD: jax.Array, counted: Counted, tables: Tables) -> jax.Array:
    """Return log(exp(logit) + exp(gate) p) for tokens of the chains, with their probabilities p; other logits as given.

    Args:
      logits_BTV: float32 logits of all tokens.
      x_BTD: the input of the output projection, on which the gates depend.
      counted: what was found at each token.
      tables: the parameters.
    """
    p = probabilities(counted, tables)
    gate_BTG = project(x_BTD, tables.gate_GD, tables.gate_G)
    per_side_BTC = jnp.repeat(gate_BTG[..., : 2 * Part.SIZE], v.ASK_OFFSET, axis=-1)
    adds_BTC, deletes_BTC = jnp.split(per_side_BTC, 2, axis=-1)
    shape = (*logits_BTV.shape[:-1], v.CLASS_SIZE)
    parts = (
        (v.CLASS_SIZE * Kind.ADD, adds_BTC, p[Part.ADD].reshape(shape)),
        (v.CLASS_SIZE * Kind.DELETE, deletes_BTC, _at_levels(p[Part.DELETE], counted.level_BTC)),
        (v.SIZE, gate_BTG[..., -2:-1], p[Part.SIZE]),
        (v.TIME, gate_BTG[..., -1:], p[Part.GAP]),
    )
    more = [jnp.zeros(shape, logits_BTV.dtype)] * (v.VOCAB_SIZE // v.CLASS_SIZE)
    for first, gate_BTC, p_BTC in parts:
        above_BTC = jnp.minimum(gate_BTC - logits_BTV[..., first : first + v.CLASS_SIZE], MOST_ABOVE)
        # Not log1p, which a CPU's compiler does not vectorise: the error of a logit is that of rounding 1.
        more[first // v.CLASS_SIZE] = jnp.log(1 + p_BTC * jnp.exp(above_BTC))
    return logits_BTV + jnp.concatenate(more, axis=-1)  # updates of slices in place take three times as long


def _at_levels(p_BTSL: jax.Array, level_BTC: jax.Array) -> jax.Array:
    """Return the probabilities of levels at their prices, [B, T, 1000]; those of absent levels are lost."""
    flat_NC = level_BTC.reshape(-1, level_BTC.shape[-1])
    row_N1 = jnp.arange(flat_NC.shape[0])[:, None]
    made_NC = jnp.zeros((flat_NC.shape[0], v.CLASS_SIZE + 1), p_BTSL.dtype)  # the last for levels that are absent
    made_NC = made_NC.at[row_N1, flat_NC].add(p_BTSL.reshape(flat_NC.shape), mode="promise_in_bounds")
    return made_NC[:, :-1].reshape(*level_BTC.shape[:-1], -1)
