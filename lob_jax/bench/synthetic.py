"""Compare a simulated day with a real one: their distributions side by side, and the distance of each.

`python -m lob_jax.bench.synthetic --reference MESSAGE_FILE` compares with a LOBSTER day, whose order-book file is found
next to the message file; without a reference only the simulated day is described. Both days are seen through the same
window: only events within the best `--levels` levels per side count. `--write FOLDER` saves the simulated day as a
LOBSTER pair.
"""

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import wasserstein_distance

from lob_jax.bench.surroundings import user_path
from lob_jax.book.day import MarketDay
from lob_jax.book.replay import BookStates, replay
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import Kind
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import FIRST_DAY, SyntheticFeed, simulate_day
from lob_jax.simulation.flow_parameters import FlowParameters
from lob_jax.writers.lobster import write_lobster

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def seen(day: MarketDay, states: BookStates) -> np.ndarray:
    """Return which events lie within the visible levels of the state before them, bool [E].

    Trades and control events always do, and so does every event on a side with fewer levels than the window.
    """
    kind, sign = day.events.kind, day.events.side.astype(np.int64)
    rows, side = np.arange(len(kind)), (sign < 0).astype(np.int64)
    worst = states.price[rows, side, -1]
    inside = (worst == 0) | (sign * (day.events.price - worst) >= 0)
    return inside | ~np.isin(kind, (Kind.ADD, Kind.CANCEL, Kind.DELETE))


def distributions(day: MarketDay, *, levels: int) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, float]]:
    """Return samples of each distribution by name, the shares of the event kinds, and some scalar statistics.

    Spread and depth are in ticks, before the event; sizes in lots; gaps in log10 ns, with 0 for a gap of 0 ns. The
    depth of an add or a withdrawal is its distance behind the same-side best, negative for an add that improves on it.
    """
    states = replay(day, levels)
    visible = seen(day, states)
    events, best = day.events[visible], states.price[:-1, :, 0][visible]
    whole = (best > 0).all(axis=1)
    own = np.where(events.side > 0, best[:, 0], best[:, 1])
    depth = events.side * (own - events.price) / day.instrument.tick
    gap = np.diff(events.time_ns)
    placed, withdrawn = events.kind == Kind.ADD, np.isin(events.kind, (Kind.CANCEL, Kind.DELETE))
    samples = {
        "spread": (best[:, 1] - best[:, 0])[whole] / day.instrument.tick,
        "gap": np.log10(np.maximum(gap, 1)),
        "size": events.size[events.kind != Kind.CONTROL],
        "size of adds": events.size[placed],
        "size of executions": events.size[events.kind == Kind.EXECUTE],
        "depth": depth[placed | withdrawn],
        "depth of adds": depth[placed],
        "depth of cancels": depth[withdrawn],
    }
    mix = {kind.name: float(np.mean(events.kind == kind)) for kind in Kind}
    seconds = max(int(events.time_ns[-1] - events.time_ns[0]) / NS_PER_SECOND, 1e-9)
    figures = {
        "events seen": len(events),
        "share of events seen": float(visible.mean()),
        "share of zero gaps": float(np.mean(gap == 0)),
        "share that moves the mid": float(np.mean(np.diff(states.mid2())[visible] != 0)),
        "events a second": len(events) / seconds,
    }
    return samples, mix, figures


def wasserstein(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return the Wasserstein-1 distance of two samples: in their unit, and divided by the pooled sd (ddof 1).

    The second value is the distance of the standardised samples, since shifting both by the pooled mean changes
    nothing.
    """
    distance = float(wasserstein_distance(first, second))
    spread = float(np.concatenate([first, second]).astype(np.float64).std(ddof=1))
    return distance, distance / spread if spread else 0.0


def total_variation(first: dict[str, float], second: dict[str, float]) -> float:
    """Return the total variation distance of two distributions over the same names."""
    return 0.5 * sum(abs(first[name] - second[name]) for name in first)


def compare(
    simulated: tuple[dict[str, np.ndarray], dict[str, float], dict[str, float]],
    reference: tuple[dict[str, np.ndarray], dict[str, float], dict[str, float]] | None,
) -> dict[str, Any]:
    """Return means, quantiles and, given a reference, distances, as JSON-serialisable values."""
    samples, mix, figures = simulated
    kind_mix: dict[str, Any] = {"simulated": mix}
    result: dict[str, Any] = {"kind_mix": kind_mix, "figures": {"simulated": figures}, "distributions": {}}
    for name, sample in samples.items():
        result["distributions"][name] = {"simulated": _summary(sample)}
    if reference is None:
        return result
    kind_mix |= {"reference": reference[1], "total_variation": total_variation(mix, reference[1])}
    result["figures"]["reference"] = reference[2]
    for name, sample in samples.items():
        distance, normalised = wasserstein(sample, reference[0][name])
        result["distributions"][name] |= {
            "reference": _summary(reference[0][name]),
            "wasserstein": distance,
            "wasserstein_normalised": normalised,
        }
    return result


def _summary(sample: np.ndarray) -> dict[str, Any]:
    if not len(sample):
        return {"n": 0, "mean": None, "quantiles": [None] * len(QUANTILES)}
    quantiles = np.quantile(sample, QUANTILES)
    return {"n": len(sample), "mean": float(sample.mean()), "quantiles": [round(float(q), 3) for q in quantiles]}


def table(result: dict[str, Any]) -> list[str]:
    """Return the comparison as lines of text."""
    head = "".join(f"{heading:>10}" for heading in ("mean", *(f"q{q:g}" for q in QUANTILES)))
    lines = [f"{'distribution':<20}{'day':<11}{head}   W1 (unit, normalised)"]
    for name, distribution in result["distributions"].items():
        for day in ("simulated", "reference"):
            if day in distribution:
                lines.append(_line_of(name, day, distribution))
    for day, mix in result["kind_mix"].items():
        if day != "total_variation":
            lines.append(f"{'kind mix':<20}{day:<11}" + "  ".join(f"{kind} {mix[kind]:.4f}" for kind in mix))
    if "total_variation" in result["kind_mix"]:
        lines.append(f"{'kind mix':<20}total variation {result['kind_mix']['total_variation']:.4f}")
    for day, figures in result["figures"].items():
        lines.append(f"{'figures':<20}{day:<11}" + "; ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    return lines


def _line_of(name: str, day: str, distribution: dict[str, Any]) -> str:
    numbers = [distribution[day]["mean"], *distribution[day]["quantiles"]]
    line = f"{name:<20}{day:<11}" + "".join(f"{'-' if x is None else format(x, '.3f'):>10}" for x in numbers)
    if day == "reference":
        line += f"   {distribution['wasserstein']:.3f}  {distribution['wasserstein_normalised']:.3f}"
    return line


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate a day, compare it, and print a table, then one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=user_path, help="message file of a LOBSTER day")
    parser.add_argument("--events", type=int, default=150_000, help="expected number of simulated events")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--levels", type=int, default=10, help="visible levels per side, of both days")
    parser.add_argument("--write", type=user_path, help="folder for the simulated day as LOBSTER files")
    options = parser.parse_args(arguments)
    feed = SyntheticFeed(1, options.events, options.seed)
    simulate_day(FlowParameters(), seed=0, events=100, trading_day=FIRST_DAY)  # compile before the clock starts
    began = time.perf_counter()
    day = feed.read(feed.days()[0])
    seconds = time.perf_counter() - began
    reference = (
        distributions(LobsterFeed().read(options.reference), levels=options.levels) if options.reference else None
    )
    result = compare(distributions(day, levels=options.levels), reference)
    result |= {"events": len(day.events), "seed": options.seed, "levels": options.levels}
    result |= {"simulation_s": round(seconds, 3)}
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        written = write_lobster(options.write, day, levels=options.levels)
        result["written"] = [str(written.message), str(written.orderbook)]
    print("\n".join(table(result)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
