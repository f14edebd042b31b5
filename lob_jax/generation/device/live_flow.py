"""The flow of one path on the device: what `lob_jax.book.flow_loop` computes on the host, event by event."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.flow import (
    CLASSES,
    DECAY_H,
    EVERY,
    LEAST_ADDS,
    MEAN_HALF_LIVES,
    MOST_EVENTS,
    MOST_SECONDS,
    MOVE,
    RUN,
    FlowState,
    Touch,
    flow_features,
)
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import Kind
from lob_jax.generation.device.assembler import Clock
from lob_jax.generation.device.live_book import FAR, LiveBook

_US_PER_SECOND, _US_PER_NS = 1e6, 1e-3
_MEANS = len(MEAN_HALF_LIVES)
_MEAN_DECAY_H = DECAY_H[:_MEANS]
_EARLIEST_NS = -10 * 86_400 * NS_PER_SECOND  # before midnight, so that earlier times fit the device's int32


class LiveFlow(NamedTuple):
    """The flow of one path; vmap over this class adds an axis of paths.

    Attributes:
      since: when what `FlowState.time_ns` lists happened, int32 [CLASSES + 2] each, since midnight.
      events_C, sums_CH, gaps_H, run_3, move_2, spreads_H, add_sizes_H, touches_NH: see `FlowState`.
      mid2: int32, best bid plus best ask after the last event, in ticks from the origin of the live book.
      quoted: bool, whether both sides were occupied then.
      spread: int32, the spread then, ticks; 0 if a side was empty.
      lots_2: int32, lots at the best bid and ask then.
    """

    since: Clock
    events_C: jax.Array
    sums_CH: jax.Array
    gaps_H: jax.Array
    run_3: jax.Array
    move_2: jax.Array
    spreads_H: jax.Array
    add_sizes_H: jax.Array
    touches_NH: jax.Array
    mid2: jax.Array
    quoted: jax.Array
    spread: jax.Array
    lots_2: jax.Array


def from_state(state: FlowState, book: LiveBook, *, midnight_ns: int) -> LiveFlow:
    """Return the live flow of a state, with the book at the same time."""
    since_ns = np.maximum(state.time_ns - midnight_ns, _EARLIEST_NS)
    parts = (jnp.asarray(part, jnp.int32) for part in np.divmod(since_ns, NS_PER_SECOND))
    return LiveFlow(Clock(*parts), *(jnp.asarray(column, jnp.float32) for column in state[1:]), *_quotes(book))


def _quotes(book: LiveBook) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return `mid2`, `quoted`, `spread` and `lots_2` of a book, see `LiveFlow`."""
    bid, ask = book.key_2P[0, 0], book.key_2P[1, 0]  # the keys of bids are negated prices
    quoted = (bid != FAR) & (ask != FAR)
    spread = jnp.where(quoted, jnp.maximum(bid + ask, 0), 0)
    lots_2 = jnp.take_along_axis(book.total_2P, book.row_2P[:, :1], axis=1)[:, 0]
    return jnp.where(quoted, ask - bid, 0), quoted, spread, lots_2


def advance(
    flow: LiveFlow, *, kind: jax.Array, side: jax.Array, size: jax.Array, gap: Clock, clock: Clock, book: LiveBook
) -> LiveFlow:
    """Return the flow after a complete event.

    Args:
      flow: the flow before it.
      kind: a `Kind`.
      side: 0 bid, 1 ask; of no meaning for CONTROL.
      size: lots.
      gap: since the previous event.
      clock: the time of the event.
      book: the book after it.
    """
    of_class_C = jnp.arange(CLASSES) == 2 * (kind - 1) + side  # no class for CONTROL, whose kind is behind the others
    trade = (kind == Kind.EXECUTE) | (kind == Kind.EXECUTE_HIDDEN)
    sign = jnp.where(side == 0, -1.0, 1.0)
    begins = trade & (flow.run_3[0] != sign)
    mid2, quoted, spread, lots_2 = _quotes(book)
    both = flow.quoted & quoted
    moved = both & (mid2 != flow.mid2)
    now_K = jnp.concatenate([of_class_C, jnp.stack([begins, moved])])
    log_gap = jnp.log1p(jnp.maximum(gap.seconds * _US_PER_SECOND + gap.ns * _US_PER_NS, 0))
    run_3 = jnp.where(begins, jnp.stack([sign, 0.0, 0.0]), flow.run_3)
    traded_3 = run_3 + jnp.stack([jnp.float32(0), jnp.float32(1), size.astype(jnp.float32)])
    step = mid2 - flow.mid2
    log_spread = jnp.log1p(spread.astype(jnp.float32))
    inward = jnp.where(side == 0, step, -step) - (spread - flow.spread)
    grew = lots_2[side] > flow.lots_2[side]
    touch_N = both & _touches(kind, inward, grew)
    log_size = jnp.where(kind == Kind.ADD, jnp.log1p(size.astype(jnp.float32)), 0)
    return LiveFlow(
        since=Clock(*(jnp.where(now_K, now, then_K) for now, then_K in zip(clock, flow.since, strict=True))),
        events_C=jnp.where(jnp.append(of_class_C, moved), 0, jnp.minimum(flow.events_C + 1, MOST_EVENTS)),
        sums_CH=flow.sums_CH * DECAY_H + jnp.append(of_class_C, True)[:, None],
        gaps_H=flow.gaps_H * _MEAN_DECAY_H + log_gap,
        run_3=jnp.where(trade, traded_3, flow.run_3),
        move_2=jnp.where(moved, jnp.stack([jnp.sign(step), jnp.abs(step) / 2]).astype(jnp.float32), flow.move_2),
        spreads_H=flow.spreads_H * _MEAN_DECAY_H + log_spread,
        add_sizes_H=flow.add_sizes_H * _MEAN_DECAY_H + log_size,
        touches_NH=flow.touches_NH * _MEAN_DECAY_H + touch_N[:, None],
        mid2=mid2,
        quoted=quoted,
        spread=spread,
        lots_2=lots_2,
    )


def _touches(kind: jax.Array, inward: jax.Array, grew: jax.Array) -> jax.Array:
    """Return which `Touch` an event between books of two sides was, bool [len(Touch)]; see `FlowEvents`."""
    adds, removes = kind == Kind.ADD, (kind > Kind.ADD) & (kind <= Kind.EXECUTE)
    found = {
        Touch.JOINED: adds & (inward == 0) & grew,
        Touch.IMPROVED: adds & (inward > 0),
        Touch.CLEARED: removes & (inward < 0),
    }
    return jnp.stack([found[touch] for touch in Touch])


def features(flow: LiveFlow, clock: Clock) -> jax.Array:
    """Return the flow features at a time, float32 [FLOW_FEATURES], equal to those used in training."""
    seconds_K = _seconds(clock, flow.since)
    every_H = jnp.maximum(flow.sums_CH[EVERY], 1)
    shares_HC = (flow.sums_CH[:CLASSES] / every_H).T
    parts = [seconds_K[:CLASSES], flow.events_C[:CLASSES], shares_HC.reshape(-1), flow.run_3, seconds_K[RUN, None]]
    usual_H = every_H[:_MEANS]
    parts += [flow.gaps_H / usual_H, flow.move_2, seconds_K[MOVE, None], flow.events_C[CLASSES:]]
    adds_H = jnp.maximum(flow.sums_CH[:2, :_MEANS].sum(0), LEAST_ADDS)
    of_H = {Touch.JOINED: adds_H, Touch.IMPROVED: adds_H, Touch.CLEARED: usual_H}
    parts += [flow.spreads_H / usual_H, flow.add_sizes_H / adds_H]
    parts += [flow.touches_NH[touch] / of_H[touch] for touch in Touch]
    return flow_features(jnp.concatenate(parts), xp=jnp)


def _seconds(clock: Clock, since: Clock) -> jax.Array:
    """Return the seconds from some times to the clock, float32 within 0..MOST_SECONDS."""
    seconds_K, ns_K = clock.seconds - since.seconds, clock.ns - since.ns
    borrow_K = ns_K < 0  # else a difference of nearly equal numbers would lose the nanoseconds
    whole_K = (seconds_K - borrow_K).astype(jnp.float32)
    return jnp.clip(whole_K + (ns_K + borrow_K * NS_PER_SECOND).astype(jnp.float32) / NS_PER_SECOND, 0, MOST_SECONDS)
