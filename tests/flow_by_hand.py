"""The flow features in plain Python, from the list of all events before a row."""

import math

import numpy as np

from lob_jax.book.flow import HALF_LIVES, MEAN_HALF_LIVES, MOST_EVENTS, MOST_SECONDS
from lob_jax.book.flow_loop import FlowEvents
from lob_jax.events.schema import ASK, BID, Kind


def since(past: list[tuple], now: tuple[int, int]) -> tuple[float, float]:
    """Return log(1 + seconds) and log(1 + events) since the last of some (index, time) pairs; now is (count, time)."""
    if not past:
        return math.log1p(MOST_SECONDS), math.log1p(MOST_EVENTS)
    (index, time_ns), (count, clock) = past[-1], now
    seconds = min(max((clock - time_ns) / 1e9, 0), MOST_SECONDS)
    return math.log1p(seconds), math.log1p(min(count - 1 - index, MOST_EVENTS))


TOUCHES = ("joined", "improved", "cleared")


def touch_of(event: tuple) -> str | None:
    """Return what an event, a row of `FlowEvents`, did to the best price of its side."""
    kind, inward, grew = event[0], event[6], event[7]
    if kind == Kind.ADD and inward >= 0:
        return "improved" if inward > 0 else "joined" if grew else None
    return "cleared" if inward < 0 and kind in (Kind.CANCEL, Kind.DELETE, Kind.EXECUTE) else None


def flow_by_hand(events: FlowEvents, row: int, *, start_ns: int, tick: int) -> dict[str, float]:
    """Return the features before event `row`, by name, from the events before it."""
    rows = list(zip(*(column[:row].tolist() for column in events), strict=True))
    times = (start_ns + np.cumsum(events.gap_ns[:row])).tolist()
    now = row, times[-1] if times else start_ns
    weights = {h: [2 ** (-(row - 1 - i) / h) for i in range(row)] for h in HALF_LIVES}
    found = {}
    for kind in range(1, 7):
        for side, word in ((BID, "bid"), (ASK, "ask")):
            mine = [i for i, one in enumerate(rows) if one[:2] == (kind, side)]
            name = f"{Kind(kind).name.lower()}_{word}"
            both = since([(i, times[i]) for i in mine], now)
            found[f"seconds_since_{name}"], found[f"events_since_{name}"] = both
            for h in HALF_LIVES:
                found[f"share_{h}_{name}"] = sum(weights[h][i] for i in mine) / (sum(weights[h]) or 1)
    run: list[int] = []
    for i, (kind, side, *_) in enumerate(rows):
        if kind in (Kind.EXECUTE, Kind.EXECUTE_HIDDEN):
            run = [*run, i] if run and rows[run[-1]][1] == side else [i]
    found["run_sign"] = -rows[run[-1]][1] if run else 0
    found["run_trades"] = math.log1p(len(run))
    found["run_lots"] = math.log1p(sum(rows[i][2] for i in run))
    found["run_seconds"] = since([(i, times[i]) for i in run[:1]], now)[0]
    for h in MEAN_HALF_LIVES:
        logs = [math.log1p(max(one[3], 0) / 1e3) for one in rows]
        found[f"gap_{h}"] = sum(w * x for w, x in zip(weights[h], logs, strict=True)) / (sum(weights[h]) or 1)
    moves = [i for i, one in enumerate(rows) if one[4]]
    step = rows[moves[-1]][4] if moves else 0
    found["move_sign"], found["move_ticks"] = (step > 0) - (step < 0), math.log1p(abs(step) / 2 / tick)
    for h in MEAN_HALF_LIVES:
        spreads = [math.log1p(one[5]) for one in rows]
        found[f"spread_{h}"] = sum(w * x for w, x in zip(weights[h], spreads, strict=True)) / (sum(weights[h]) or 1)
        adds = [(weights[h][i], math.log1p(size)) for i, (kind, _, size, *_) in enumerate(rows) if kind == Kind.ADD]
        of_adds = max(sum(w for w, _ in adds), 1e-3)
        found[f"add_size_{h}"] = sum(w * x for w, x in adds) / of_adds
        touches = {
            touch: sum(weights[h][i] for i, one in enumerate(rows) if touch_of(one) == touch) for touch in TOUCHES
        }
        found[f"joined_{h}"], found[f"improved_{h}"] = touches["joined"] / of_adds, touches["improved"] / of_adds
        found[f"cleared_{h}"] = touches["cleared"] / (sum(weights[h]) or 1)
    found["move_seconds"], found["move_events"] = since([(i, times[i]) for i in moves], now)
    return found
