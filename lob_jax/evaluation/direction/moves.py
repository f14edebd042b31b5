"""Price direction: which way the next event moves the mid price, predicted before the event.

The prediction follows from the model's distribution of the next head. An order added at a better price than the best
always moves the mid in its direction. A removal at the best moves the mid if it takes the complete level, so its head
counts with the probability that its size equals the level's. That probability depends on the head, so the model is
also evaluated on six continuations (cancel, delete, execute; bid, ask), each a head followed by the size of the level.
They are appended to the window as side branches, each of which attends only to the tokens before the event and to
itself.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.replay import replay
from lob_jax.data.records.records import Record, RecordSource, direction, read_record
from lob_jax.data.windows.dataset import TokenBookDataset, Window
from lob_jax.data.windows.known import NOTHING, Beside
from lob_jax.evaluation.direction.branch_places import OpenedRecord, Places, branch_places
from lob_jax.events.schema import Kind
from lob_jax.models.apply import apply
from lob_jax.models.config import ModelConfig
from lob_jax.models.inputs import Conditioning, Role, fields_read
from lob_jax.models.masking import Masks, log_probabilities, places_of
from lob_jax.models.transformer import LOBTransformer
from lob_jax.tokens import numbers
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import Automaton
from lob_jax.tokens.tokenizer import Tokenizer

DOWN, FLAT, UP = range(3)
REMOVALS = (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE)
EVENTS_A_FORWARD = 32  # events whose branches share one forward pass


@dataclasses.dataclass(frozen=True, eq=False)
class Moves:
    """The move of the mid that each event of a record causes, and the state before it.

    Attributes:
      label: int64 [E], DOWN, FLAT or UP.
      known: bool [E], both sides had orders before and after the event; other events have no direction.
      own: bool [E], after the record's lead.
      best_size: int64 [E, 2], lots at the best bid and ask before the event; 0 for an empty side.
      action: int64 [E], kind and side of the preceding event (head // 500); 0 for a CONTROL event or none.
    """

    label: np.ndarray
    known: np.ndarray
    own: np.ndarray
    best_size: np.ndarray
    action: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Branches:
    """The side branches of R events: six chains of a head and size tokens for each event, with K slots per chain.

    Attributes:
      tokens: int32 [R, 6, K], PAD after the end of a chain; removals of the bid first, then of the ask.
      length: int32 [R, 6], number of tokens of the chain.
      goes_on: bool [R, 6], whether the grammar allows the number at the end of the chain to continue.
      exists: bool [R, 6], whether there is a level to remove.
    """

    tokens: np.ndarray
    length: np.ndarray
    goes_on: np.ndarray
    exists: np.ndarray


class Within(NamedTuple):
    """Over which tokens a model with a mask distributes what follows the tokens of side branches.

    Attributes:
      places: the arrays of role PLACE that it reads, [R, 6, K, ...].
      masks: the masks of the grammar.
    """

    places: Places
    masks: Masks


def record_moves(record: Record, tokenizer: Tokenizer) -> Moves:
    """Decode and replay a record, and return its moves."""
    day, tokens = read_record(record, tokenizer), record["tokens"][:-1]
    states = replay(day, levels=1)
    action = tokens[v.field_of(tokens) == v.FIELD_HEAD].astype(np.int64) // v.ASK_OFFSET
    return Moves(
        label=direction(record).astype(np.int64) + FLAT,
        known=states.two_sided()[:-1] & states.two_sided()[1:],
        own=np.arange(len(day.events)) >= int(record["lead_events"]),
        best_size=states.size[:-1, :, 0],
        action=np.concatenate([[0], action[:-1]]),
    )


def make_branches(best_size: np.ndarray, grammar: Automaton, *, slots: int) -> Branches:
    """Return the side branches of events with the given best sizes, [R, 2]; `slots` is K, see `slots_needed`."""
    shape = (len(best_size), 2 * len(REMOVALS))
    branches = Branches(
        tokens=np.full((*shape, slots), v.PAD, np.int32),
        length=np.ones(shape, np.int32),
        goes_on=np.zeros(shape, bool),
        exists=np.repeat(best_size > 0, len(REMOVALS), axis=1),
    )
    heads = [v.CLASS_SIZE * kind + offset for offset in (0, v.ASK_OFFSET) for kind in REMOVALS]
    for row, sizes in enumerate(best_size.tolist()):
        for column, head in enumerate(heads):
            size = spell(sizes[column // len(REMOVALS)])
            state = grammar.walk([head, *size])
            branches.tokens[row, column, : 1 + len(size)] = [head, *size]
            branches.length[row, column] = 1 + len(size)
            branches.goes_on[row, column] = grammar.allowed[state, v.CONTINUATION : v.SIZE].any()
    return branches


@functools.lru_cache(maxsize=100_000)
def spell(size: int) -> tuple[int, ...]:
    """Return the tokens of a size."""
    tokens = np.zeros(2 + v.MAX_NUMBER_DIGITS // 3, np.int64)
    return tuple(tokens[: numbers.write_number(tokens, 0, v.SIZE, size)].tolist())


def slots_needed(best_size: np.ndarray) -> int:
    """Return K, the number of slots for a head and the longest size."""
    return 1 + max((len(spell(size)) for size in np.unique(best_size).tolist()), default=1)


def predict_moves(
    config: ModelConfig,
    params: Any,
    *,
    source: RecordSource,
    moves: list[Moves],
    tokenizer: Tokenizer,
    events: int,
    beside: Beside = NOTHING,
    masks: Masks | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict the direction of the first events after the leads of their records.

    Args:
      config, params: the model.
      source: the records.
      moves: the moves of each record.
      tokenizer: the tokenizer of their tokens.
      events: maximum number of events to predict.
      beside: what the model reads in addition to tokens, clock buckets and book; and the arrays of its mask.
      masks: the masks of the next token, for a model that has one.

    Returns:
      (probability float64 [N, 3] of DOWN, FLAT, UP; record int64 [N]; event int64 [N], index in the record). Only
      events with a known direction are predicted.
    """
    slots = max(slots_needed(one.best_size) for one in moves)  # the same for all, so that one program is compiled
    dataset = TokenBookDataset(
        source,
        context=config.max_seq_length - slots,  # a branch has the positions after its event's: they must exist
        time_buckets=config.time_buckets,
        evaluation=True,
        beside=beside,
    )
    opened = functools.lru_cache(maxsize=2)(lambda index: OpenedRecord.of(source[index], tokenizer))
    probability, where, asked = [np.zeros((0, 3))], [np.zeros((0, 2), np.int64)], 0
    for number in range(len(dataset)):
        if asked >= events:
            break
        window = dataset[number]
        record = int(window["record"])
        heads = np.flatnonzero(window["scored"] & (v.field_of(window["tokens"]) == v.FIELD_HEAD))
        heads = heads[moves[record].known[window["event"][heads]]][: events - asked]
        asked += len(heads)
        for group in np.split(heads, range(EVENTS_A_FORWARD, len(heads), EVENTS_A_FORWARD)):
            event = window["event"][group]
            branches = make_branches(moves[record].best_size[event], tokenizer.grammar, slots=slots)
            within = None
            if masks is not None and config.mask != "none":
                chains = branches.tokens, branches.length
                within = Within(branch_places(opened(record), event, *chains, tokenizer=tokenizer), masks)
            at = {"head_at": group, "branches": branches, "within": within}
            probability.append(branch_probabilities(config, params, window, **at))
            where.append(np.stack([np.full(len(group), record), event], axis=1))
    record_and_event = np.concatenate(where)
    return np.concatenate(probability), record_and_event[:, 0], record_and_event[:, 1]


def branch_probabilities(
    config: ModelConfig,
    params: Any,
    window: Window,
    *,
    head_at: np.ndarray,
    branches: Branches,
    within: Within | None = None,
) -> np.ndarray:
    """Return the probabilities [R, 3] of DOWN, FLAT, UP for events whose heads are at `head_at` in a window.

    Args:
      config, params: the model.
      window: one evaluation window of T+1 tokens.
      head_at: int [R], positions of the heads, each at least 1; the model sees the tokens before them.
      branches: the side branches of the same events.
      within: what may follow their tokens, for a model with a mask.
    """
    better, removal = move_parts(config, params, window, head_at=head_at, branches=branches, within=within)
    half = len(REMOVALS)
    up = better[:, 0] + removal[:, half:].sum(1)
    down = better[:, 1] + removal[:, :half].sum(1)
    return np.stack([down, np.maximum(1 - up - down, 0), up], axis=1)  # rounding may leave less than 0


def move_parts(
    config: ModelConfig,
    params: Any,
    window: Window,
    *,
    head_at: np.ndarray,
    branches: Branches,
    within: Within | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of the events that move the mid; arguments as for `branch_probabilities`.

    Returns:
      (float64 [R, 2], that an order comes at a better price than the best, bid and ask; float64 [R, 6], that the head
      of each chain comes and takes the complete level).
    """
    missing = EVENTS_A_FORWARD - len(head_at)  # pad, since each number of events would be compiled again

    def padded(array: np.ndarray, value: int) -> np.ndarray:
        return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1), constant_values=value)

    inputs = {name: window[name] for name in ("tokens", *fields_read(config, Role.BESIDE))}
    names, masks = ((), None) if within is None else (fields_read(config, Role.PLACE), within.masks)
    at_head = {name: padded(window[name][head_at - 1], 0) for name in names}
    in_branch = {} if within is None else {name: padded(within.places[name], 0) for name in names}
    parts = _move_parts(
        inputs,
        params,
        padded(head_at, 1),
        padded(branches.tokens, v.PAD),
        padded(branches.length, 1),
        padded(branches.goes_on, 0),
        padded(branches.exists, 0),
        (at_head, in_branch, masks),
        config=config,
    )
    better, removal = (np.asarray(part, np.float64)[: len(head_at)] for part in parts)
    return better, removal


@functools.partial(jax.jit, static_argnames="config")
def _move_parts(
    window: dict[str, jax.Array],
    params: Any,
    head_at: jax.Array,
    chains: jax.Array,
    length: jax.Array,
    goes_on: jax.Array,
    exists: jax.Array,
    sets: tuple[Conditioning, Conditioning, Masks | None],
    *,
    config: ModelConfig,
) -> tuple[jax.Array, jax.Array]:
    """Return the results of `move_parts`, [R, 2] and [R, 6]: one forward pass of a window followed by all branches."""
    R, C, K = chains.shape
    T = window["tokens"].shape[0] - 1
    event = jnp.arange(R * C * K) // (C * K)

    def with_branches(array: jax.Array) -> jax.Array:
        return jnp.concatenate([array[:T], array[head_at][event]])[None]

    # A branch gets the clock and book at the event's head, which are those before the event, so nothing leaks.
    logits_BTV = apply(
        LOBTransformer(config),
        {"params": params},
        jnp.concatenate([window["tokens"][:T], chains.reshape(-1)])[None],
        {name: with_branches(array) for name, array in window.items() if name != "tokens"},
        positions_BT=jnp.concatenate([jnp.arange(T), head_at[event] + jnp.arange(R * C * K) % K])[None],
        mask_BTS=branch_mask(T, head_at, C, K)[None],
    )
    at_head, in_branch, masks = sets
    head_RV = _distribution(logits_BTV[0, head_at - 1], at_head, masks)
    flat = {name: array.reshape(R * C * K, *array.shape[3:]) for name, array in in_branch.items()}
    after_RCKV = _distribution(logits_BTV[0, T:], flat, masks).reshape(R, C, K, -1)
    p_size_RC = _chain_probability(after_RCKV, chains, length, goes_on)
    removal_RC = jnp.where(exists, jnp.take_along_axis(head_RV, chains[:, :, 0], axis=1) * p_size_RC, 0)
    better_R2 = jnp.stack([head_RV[:, np.flatnonzero(better_adds(side))].sum(1) for side in (0, 1)], axis=1)
    return better_R2, removal_RC


def _distribution(logits_NV: jax.Array, known: Conditioning, masks: Masks | None) -> jax.Array:
    """Return the probability of every token in N places, [N, V]; over all tokens without masks."""
    if masks is None:
        return jax.nn.softmax(logits_NV, axis=-1)
    places = places_of({name: array[None] for name, array in known.items()}, masks)
    return jnp.exp(log_probabilities(logits_NV[None], places)[0])


def _chain_probability(after_RCKV: jax.Array, chains: jax.Array, length: jax.Array, goes_on: jax.Array) -> jax.Array:
    """Return P(the tokens of the size, then the end of the number | head), [R, C]."""
    K = chains.shape[-1]
    token_RCK = jnp.take_along_axis(after_RCKV[:, :, :-1], chains[:, :, 1:, None], axis=-1)[..., 0]
    inside_RCK = jnp.arange(1, K) < length[..., None]
    last_RCV = jnp.take_along_axis(after_RCKV, (length - 1)[..., None, None], axis=2)[:, :, 0]
    digits_RC = last_RCV[..., v.CONTINUATION : v.SIZE].sum(-1)
    return jnp.where(inside_RCK, token_RCK, 1).prod(-1) * jnp.where(goes_on, 1 - digits_RC, 1)


def branch_mask(T: int, head_at: jax.Array, chains: int, slots: int) -> jax.Array:
    """Return bool [S, S], S = T + R * chains * slots, True where a token may attend to another.

    The first T tokens are causal. A token of a branch attends to the window before its event's head, and to its own
    chain up to itself.
    """
    count = len(head_at) * chains * slots
    chain, step = jnp.arange(count) // slots, jnp.arange(count) % slots
    prefix = jnp.arange(T)[None, :] < head_at[chain // chains][:, None]
    own = (chain[:, None] == chain[None, :]) & (step[None, :] <= step[:, None])
    window = jnp.concatenate([jnp.tri(T, dtype=bool), jnp.zeros((T, count), bool)], axis=1)
    return jnp.concatenate([window, jnp.concatenate([prefix, own], axis=1)])


def better_adds(side_index: int) -> np.ndarray:
    """Return which tokens add an order at a better price than the best of a side (0 bid, 1 ask), bool [V]."""
    low = np.arange(v.VOCAB_SIZE) - v.CLASS_SIZE * Kind.ADD - v.ASK_OFFSET * side_index
    near = (low >= v.BETTER_CODE) & (low < v.DEEPER_ESCAPE)
    return near | ((low >= v.BETTER_ESCAPE) & (low < v.PRICE_CODES))
