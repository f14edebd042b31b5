"""Plant twelve faults in real flow, and show from how many sequences each score, measure and test detects them.

`python -m lob_jax.bench.faults` uses a simulated day; `--data` takes a LOBSTER message file, or a folder of sequences
in LOB-Bench's layout. The first half of the sequences is the training flow that one of the faults copies; all else
comes from the second half. `--write FOLDER` saves the matrix as JSON and as a figure.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.bench.surroundings import surroundings, user_path
from lob_jax.evaluation.fidelity.faults.matrix import CONTROL, COUNTS, fault_matrix
from lob_jax.evaluation.fidelity.folders import PARTS, read_folder
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.figures.day import save
from lob_jax.figures.faults import GROUPS, fault_figure, of_row, ordered, smallest_of
from lob_jax.runs.workdir import write_json
from lob_jax.statistics.distances import Distances
from lob_jax.statistics.flow import Flow, disjoint_spans, flow_of_spans

LEVELS = 10  # per side, of a simulated day
WIDTH = 42  # characters of a row's name


def table(matrix: Mapping[str, Any], *, statistic: str) -> list[str]:
    """Return the matrix as lines of text, then what detects each fault, and what detects none."""
    faults = matrix["faults"]
    lines = [f"{place:>3}  {fault['label']}, in the {fault['changes']}" for place, fault in enumerate(faults, start=1)]
    heads = "".join(f"{place:>5}" for place in range(1, len(faults) + 1))
    lines.append(f"{'sequences needed to detect':<{WIDTH}}{heads}   detected  false alarms")
    rows, group = ordered(matrix, statistic), None
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            lines.append(GROUPS[group])
        found = [smallest_of(row, fault["name"], statistic) for fault in faults]
        cells = "".join(f"{'-' if count is None else count:>5}" for count in found)
        detected = sum(count is not None for count in found)
        lines.append(
            f"  {row['label'][: WIDTH - 3]:<{WIDTH - 2}}{cells}   {detected:>8}  {_alarms(row, statistic):>12}"
        )
    return [*lines, *(best_of(rows, fault, statistic) for fault in faults), _blind(rows, faults, statistic)]


def best_of(rows: Sequence[Mapping[str, Any]], fault: Mapping[str, Any], statistic: str) -> str:
    """Return a sentence that names the rows which detect a fault from the fewest sequences."""
    counts = [smallest_of(row, fault["name"], statistic) for row in rows]
    known = [count for count in counts if count is not None]
    if not known:
        return f"{fault['label']}: detected by none"
    best = [row["label"] for row, count in zip(rows, counts, strict=True) if count == min(known)]
    others = f" and {len(best) - 4} more" if len(best) > 4 else ""
    named = "; ".join(best[:4])
    return f"{fault['label']}: by {len(known)} of {len(rows)}, from {min(known)} sequences by {named}{others}"


def _blind(rows: Sequence[Mapping[str, Any]], faults: Sequence[Mapping[str, Any]], statistic: str) -> str:
    blind = [
        row["label"] for row in rows if all(smallest_of(row, fault["name"], statistic) is None for fault in faults)
    ]
    return f"detect no fault: {'; '.join(blind) or 'none'}"


def _alarms(row: Mapping[str, Any], statistic: str) -> str:
    shares = [share for share in of_row(row, statistic)[CONTROL]["power"] if share is not None]
    return f"{np.mean(shares):.1%}" if shares else "n/a"


def _flow(options: argparse.Namespace) -> Flow:
    if options.data is not None:
        return read_folder(options.data, PARTS[0], events=options.events).flow
    day = SyntheticFeed(1, options.simulated, options.seed).read(SyntheticFeed(1).days()[0])
    return flow_of_spans(day, disjoint_spans(len(day.events), length=options.events), levels=LEVELS)


def _counts(text: str) -> list[int]:
    return sorted(int(count) for count in text.split(","))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then one JSON object without the matrix."""
    parser = argparse.ArgumentParser(prog="python -m lob_jax.bench.faults", description=__doc__)
    parser.add_argument("--data", type=user_path, help="a LOBSTER message file or a folder; a simulated day if absent")
    parser.add_argument("--simulated", type=int, default=60_000, help="expected events of the simulated day")
    parser.add_argument("--events", type=int, default=200, help="messages per sequence")
    parser.add_argument("--counts", type=_counts, default=list(COUNTS), help="numbers of sequences, such as 4,8,16")
    parser.add_argument("--draws", type=int, default=200, help="pairs of selections for each number of sequences")
    parser.add_argument("--statistic", choices=Distances._fields, default="l1", help="by which the scores are judged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=user_path, help="folder for faults.json and faults.png")
    options = parser.parse_args(arguments)
    flow, began = _flow(options), time.perf_counter()
    half = len(flow) // 2
    matrix = fault_matrix(
        flow.select(range(half, len(flow))),
        flow.select(range(half)),
        counts=options.counts,
        draws=options.draws,
        seed=options.seed,
        on_progress=lambda label, done, total: print(f"{label}, {done + 1} of {total}", flush=True),
    )
    seconds = round(time.perf_counter() - began, 1)
    print("\n".join(table(matrix, statistic=options.statistic)))
    about = {"events": options.events, "seconds": seconds, **surroundings("faults")}
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        write_json(options.write / "faults.json", {**matrix, **about})
        title = f"{flow.instrument.symbol} {flow.instrument.trading_day}, sequences of {options.events} messages"
        save(fault_figure(matrix, title=title, statistic=options.statistic), options.write / "faults.png")
    print(json.dumps({"benchmark": "faults", **{key: matrix[key] for key in matrix if key != "rows"}, **about}))


if __name__ == "__main__":
    main()
