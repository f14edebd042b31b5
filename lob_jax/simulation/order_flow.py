"""Simulated participants: a compiled loop that draws actions and sends them to the matching engine.

The times of the actions are a self-exciting process; the kind, side and price of an action depend on the gap, on the
previous action and on the spread. Wide spreads attract better prices, narrow ones marketable orders, and a side with
too many levels loses orders: the book neither empties nor grows without bound.
"""

import numpy as np

from lob_jax.events.schema import Code
from lob_jax.jit import inner, njit
from lob_jax.simulation.arrivals import Arrivals, wait
from lob_jax.simulation.flow import (
    ADD,
    ADD_SIZE,
    AGE_RANK,
    DEEPER,
    DEEPER_SCALE,
    DELETE,
    HALTED,
    HIDDEN_INSIDE,
    HIDDEN_SIZE,
    IMPROVE,
    IMPROVE_SCALE,
    IMPROVEMENT,
    JOIN,
    MARKET,
    MARKET_SAME_SIDE,
    MARKET_SIZE,
    QUOTING,
    REPEAT_SIZE,
    REPLACE,
    SAME_SIDE,
    SHIFT,
    SPREAD_FACTOR,
    TRADING,
    Action,
    Flow,
)
from lob_jax.simulation.flow_parameters import FEW_LEVELS
from lob_jax.simulation.matching import (
    EVENTS,
    L_PRICE,
    LEVELS,
    LIVE,
    O_PRICE,
    O_SIZE,
    ORDERS,
    Engine,
    best_price,
    best_size,
    cancel,
    delete,
    order_by_age,
    place,
    report_control,
    report_hidden,
    submit,
    worst_order,
)

_HALT, _RESUME_QUOTE, _RESUME_TRADE = int(Code.HALT), int(Code.RESUME_QUOTE), int(Code.RESUME_TRADE)
SPARE_EVENTS = 2000  # rows kept free: far more than one action needs, so that no action is refused halfway


@inner
def draw(flow: Flow, distribution: int, rng: np.random.Generator) -> float:
    """Draw from a distribution in `flow.distributions` by inverting its piecewise linear quantile function."""
    drawn, right = rng.random(), 1
    while flow.distributions[distribution, 0, right] < drawn:
        right += 1
    low, high = flow.distributions[distribution, 0, right - 1], flow.distributions[distribution, 0, right]
    below, above = flow.distributions[distribution, 1, right - 1], flow.distributions[distribution, 1, right]
    return below + (drawn - low) / (high - low) * (above - below)


@inner
def draw_whole(flow: Flow, distribution: int, rng: np.random.Generator, scale: float = 1.0) -> int:
    """Draw from a distribution, multiply by `scale`, and round to an integer of at least 1."""
    return max(1, int(np.floor(draw(flow, distribution, rng) * scale + 0.5)))


@inner
def band_of(value: float, edges: np.ndarray) -> int:
    """Return the band of a value: the number of edges at or below it."""
    band = 0
    while band < len(edges) and value >= edges[band]:
        band += 1
    return band


@inner
def spread_ticks(engine: Engine, flow: Flow) -> int:
    """Return the best ask minus the best bid in ticks; neither side may be empty."""
    return (best_price(engine, 1) - best_price(engine, 0)) // flow.tick


@njit
def open_book(engine: Engine, flow: Flow, price: int, rng: np.random.Generator) -> None:
    """Fill an empty book around a price with the target number of levels per side.

    Args:
      engine: an engine without orders; changed in place.
      flow: the parameters.
      price: price quanta, a multiple of the tick.
      rng: source of the draws.
    """
    half = int(flow.spread_edges[len(flow.spread_edges) // 2] // 2) * flow.tick
    for side in range(2):
        best = price - half if side == 0 else price + half
        place(engine, side, best, draw_whole(flow, ADD_SIZE, rng))
        while engine.side[side, LEVELS] < flow.level_target:
            behind = draw_whole(flow, DEEPER, rng) * flow.tick
            place(engine, side, max(flow.tick, best - (1 - 2 * side) * behind), draw_whole(flow, ADD_SIZE, rng))


@njit
def run_session(
    engine: Engine, flow: Flow, arrivals: Arrivals, open_ns: int, halts: np.ndarray, rng: np.random.Generator
) -> int:
    """Send actions to the engine until the session ends or the engine is full; return the elapsed ns.

    Args:
      engine: holds orders on both sides; changed in place.
      flow: the parameters.
      arrivals: the process of action times; changed in place.
      open_ns: start of the session.
      halts: int64 [H, 3], when each halt begins, quoting resumes and trading resumes, ns since the open; sorted and
        without overlap.
      rng: source of the draws.
    """
    elapsed, halt, phase = 0, 0, TRADING
    last = Action(ADD, 0, 100)
    room = len(engine.event) - SPARE_EVENTS
    while engine.used[EVENTS] < room and engine.used[ORDERS] < len(engine.order) - 1:
        gap = wait(arrivals, elapsed, rng)
        while halt < len(halts) and elapsed + gap >= halts[halt, phase] and halts[halt, phase] < arrivals.span[0]:
            report_control(engine, open_ns + halts[halt, phase], (_HALT, _RESUME_QUOTE, _RESUME_TRADE)[phase])
            halt, phase = (halt + 1, TRADING) if phase == QUOTING else (halt, phase + 1)
        elapsed += gap
        if elapsed >= arrivals.span[0]:
            break
        chosen = choose(engine, flow, last, gap, rng)
        if phase != TRADING and not allowed(flow, chosen.action, phase, rng):
            continue
        last = act(engine, flow, last, chosen, band_of(gap, flow.gap_edges), open_ns + elapsed, rng)
    return elapsed


@inner
def allowed(flow: Flow, action: int, phase: int, rng: np.random.Generator) -> bool:
    """Return whether an action may happen in a phase of a halt."""
    if phase == HALTED:
        return action == DELETE and rng.random() < flow.halt_deletes
    return action != MARKET


@inner
def choose(engine: Engine, flow: Flow, last: Action, gap: int, rng: np.random.Generator) -> Action:
    """Draw the next action and its side; its size is not drawn yet and 0.

    Args:
      engine: the current book.
      flow: the parameters.
      last: the previous action.
      gap: ns since the previous action.
      rng: source of the draws.
    """
    band = band_of(gap, flow.gap_edges)
    spread = band_of(spread_ticks(engine, flow), flow.spread_edges)
    total = 0.0
    for action in range(4):
        total += flow.next_action[band, last.action, action] * flow.by_spread[spread, SPREAD_FACTOR + action]
    # Subtract weights until the draw is used up; `action < MARKET` guards against rounding in the subtraction.
    drawn, action = rng.random() * total, -1
    while drawn >= 0.0 and action < MARKET:
        action += 1
        drawn -= flow.next_action[band, last.action, action] * flow.by_spread[spread, SPREAD_FACTOR + action]
    same = flow.by_gap[band, SAME_SIDE + action]
    if action == MARKET and last.action == MARKET:
        same = flow.by_gap[band, MARKET_SAME_SIDE]
    side = last.side if rng.random() < same else 1 - last.side
    excess = (engine.side[side, LEVELS] - flow.level_target) / flow.level_target * flow.level_pull
    if action == ADD and rng.random() < excess:
        action = DELETE
    elif action == DELETE and rng.random() < -excess:
        action = ADD
    if engine.side[side, LEVELS] <= FEW_LEVELS:
        action = ADD
    return Action(action, side, 0)


@inner
def act(
    engine: Engine, flow: Flow, last: Action, chosen: Action, band: int, time_ns: int, rng: np.random.Generator
) -> Action:
    """Execute an action; return it with its size.

    Args:
      engine: changed in place.
      flow: the parameters.
      last: the previous action.
      chosen: the action and its side.
      band: the gap band.
      time_ns: time of the events.
      rng: source of the draws.
    """
    if chosen.action == ADD:
        size = add_order(engine, flow, last, chosen.side, band, time_ns, rng)
    elif chosen.action == DELETE:
        size = delete_order(engine, flow, chosen.side, time_ns, rng)
    elif chosen.action == REPLACE:
        size = replace_order(engine, flow, chosen.side, time_ns, rng)
    else:
        size = trade(engine, flow, chosen.side, time_ns, rng)
        if size < 0:
            size = add_order(engine, flow, last, chosen.side, band, time_ns, rng)
            return Action(ADD, chosen.side, size)
    return Action(chosen.action, chosen.side, size)


@inner
def clip_price(engine: Engine, flow: Flow, side: int, price: int) -> int:
    """Return the price, or the nearest one that is not marketable and at least one tick.

    Args:
      engine: the current book.
      flow: the parameters.
      side: 0 bid, 1 ask.
      price: price quanta.
    """
    if side == 0:
        return max(flow.tick, min(price, best_price(engine, 1) - flow.tick))
    return max(price, best_price(engine, 0) + flow.tick)


@inner
def add_order(
    engine: Engine, flow: Flow, last: Action, side: int, band: int, time_ns: int, rng: np.random.Generator
) -> int:
    """Place an order better than, at, or behind the best of its side; return its size.

    Args:
      engine: changed in place.
      flow: the parameters.
      last: the previous action.
      side: 0 bid, 1 ask.
      band: the gap band.
      time_ns: time of the event.
      rng: source of the draws.
    """
    ticks = spread_ticks(engine, flow)
    spread = band_of(ticks, flow.spread_edges)
    drawn = rng.random()
    towards = 0
    if drawn < flow.by_spread[spread, IMPROVE]:
        wide = max(1.0, ticks / flow.spread_edges[-1])  # the last band is open-ended: scale with the spread beyond it
        towards = draw_whole(flow, IMPROVEMENT, rng, flow.by_spread[spread, IMPROVE_SCALE] * wide)
    elif drawn >= flow.by_spread[spread, IMPROVE] + flow.by_spread[spread, JOIN]:
        towards = -draw_whole(flow, DEEPER, rng, flow.by_spread[spread, DEEPER_SCALE])
    price = clip_price(engine, flow, side, best_price(engine, side) + (1 - 2 * side) * towards * flow.tick)
    repeat = flow.by_gap[band, REPEAT_SIZE + last.action] if last.action < REPLACE else 0.0
    size = last.size if last.size > 0 and rng.random() < repeat else draw_whole(flow, ADD_SIZE, rng)
    submit(engine, time_ns, side, price, size)
    return size


@inner
def pick_order(engine: Engine, flow: Flow, side: int, rng: np.random.Generator) -> int:
    """Return the id of the order to withdraw: mostly a young one, sometimes the one at the worst price.

    Args:
      engine: the current book.
      flow: the parameters.
      side: 0 bid, 1 ask.
      rng: source of the draws.
    """
    if rng.random() < flow.worst_share:
        return worst_order(engine, side)
    far = flow.far_ticks * flow.tick
    order = 0
    for _ in range(4):
        rank = int(draw(flow, AGE_RANK, rng))
        if rank >= engine.side[side, LIVE]:
            rank = int(rng.random() * engine.side[side, LIVE])
        order = order_by_age(engine, side, rank)
        behind = abs(best_price(engine, side) - engine.order[order - 1, O_PRICE])
        if behind < far or rng.random() >= flow.far_patience:
            break
    return order


@inner
def delete_order(engine: Engine, flow: Flow, side: int, time_ns: int, rng: np.random.Generator) -> int:
    """Withdraw an order, in rare cases only part of it; return the lots withdrawn.

    Args:
      engine: changed in place.
      flow: the parameters.
      side: 0 bid, 1 ask.
      time_ns: time of the event.
      rng: source of the draws.
    """
    order = pick_order(engine, flow, side, rng)
    left = engine.order[order - 1, O_SIZE]
    if left > 1 and rng.random() < flow.cancel_share:
        return cancel(engine, time_ns, order, max(1, left // 2))
    return delete(engine, time_ns, order)


@inner
def replace_order(engine: Engine, flow: Flow, side: int, time_ns: int, rng: np.random.Generator) -> int:
    """Move an order to another price by a delete and an add with the same timestamp; return its size.

    Args:
      engine: changed in place.
      flow: the parameters.
      side: 0 bid, 1 ask.
      time_ns: time of both events.
      rng: source of the draws.
    """
    order = pick_order(engine, flow, side, rng)
    old = engine.order[order - 1, O_PRICE]
    size = delete(engine, time_ns, order)
    ticks = int(np.rint(draw(flow, SHIFT, rng)))
    price = clip_price(engine, flow, side, old + (1 - 2 * side) * (ticks if ticks else -1) * flow.tick)
    submit(engine, time_ns, side, price, size)
    return size


@inner
def trade(engine: Engine, flow: Flow, side: int, time_ns: int, rng: np.random.Generator) -> int:
    """Execute a marketable order against hidden orders, then against the resting orders of a side.

    Args:
      engine: changed in place.
      flow: the parameters.
      side: of the resting orders, 0 bid, 1 ask.
      time_ns: time of the events.
      rng: source of the draws.

    Returns:
      The visible size, 0 if only hidden orders traded; -1 if the order is larger than the best level and withheld,
      which changes nothing.
    """
    size = draw_whole(flow, MARKET_SIZE, rng)
    best = best_size(engine, side)
    if size > best and rng.random() >= flow.sweep_share:
        if rng.random() >= flow.take_share:
            return -1
        size = best
    drawn = rng.random()
    if drawn < flow.hidden_only + flow.hidden_too and spread_ticks(engine, flow) > 1:
        trade_hidden(engine, flow, side, time_ns, rng)
        if drawn < flow.hidden_only:
            return 0
    rests = rng.random() < flow.limit_share
    reach = 0 if rests else flow.sweep_collar * flow.tick
    limit = best_price(engine, side) - (1 - 2 * side) * reach
    farthest = engine.level[side, FEW_LEVELS - 1, L_PRICE]
    limit = max(limit, farthest) if side == 0 else min(limit, farthest)
    submit(engine, time_ns, 1 - side, limit, size, rests)
    return size


@inner
def trade_hidden(engine: Engine, flow: Flow, side: int, time_ns: int, rng: np.random.Generator) -> None:
    """Trade one or more hidden orders at a price inside the spread, sometimes half a tick off the grid.

    Args:
      engine: changed in place.
      flow: the parameters.
      side: of the hidden orders, 0 bid, 1 ask.
      time_ns: time of the events.
      rng: source of the draws.
    """
    ticks = min(draw_whole(flow, HIDDEN_INSIDE, rng), spread_ticks(engine, flow) - 1)
    inside = ticks * flow.tick
    if rng.random() < flow.half_tick:
        inside -= flow.tick // 2
    price = best_price(engine, side) + (1 - 2 * side) * inside
    report_hidden(engine, time_ns, side, price, draw_whole(flow, HIDDEN_SIZE, rng))
    while rng.random() < flow.hidden_again:
        report_hidden(engine, time_ns, side, price, draw_whole(flow, HIDDEN_SIZE, rng))
