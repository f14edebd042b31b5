"""Memorisation: the longest run of messages of generated flow that occurs in training data, beside held-out real flow.

A message is its kind, its side, its price relative to the best of its side after it, its size and, if asked for, its
gap in powers of two. Runs are compared exactly, by prefix doubling (Manber and Myers, 1993): for each power of two the
runs of that length are numbered in sorted order, so that equal numbers mean equal runs.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.measure import number
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import gaps_ns

DRAWS = 999  # permutations


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """Sequences of messages as symbols.

    Attributes:
      symbol: int64 [E, C], C columns per message.
      edges: int64 [S+1], see `Flow`.
      row: int64 [E], the message of the flow.
    """

    symbol: np.ndarray
    edges: np.ndarray
    row: np.ndarray


def messages_of(flow: Flow, *, gaps: bool = False) -> Runs:
    """Return the messages of a flow without absolute prices and times.

    Args:
      flow: the flow.
      gaps: whether a message carries its gap, in powers of two of ns. The first message of a sequence has none, and is
        then left out. Rows with a book and no message always are.
    """
    rows = np.arange(len(flow.kind))
    best = flow.book_price[rows, np.where(flow.side > 0, 0, 1), 0]
    symbol = np.stack([flow.kind, flow.side, flow.price - best, flow.size], axis=1).astype(np.int64)
    if gaps:
        gap, rows = gaps_ns(flow)
        bucket = np.frexp(gap.astype(np.float64))[1].astype(np.int64)
        symbol = np.hstack([symbol[rows], bucket[:, None]])
    known = flow.kind[rows] > 0
    lengths = np.bincount(flow.sequence()[rows[known]], minlength=len(flow))
    return Runs(symbol[known], np.concatenate([[0], np.cumsum(lengths)]), rows[known])


def longest_runs(looked_up: Runs, training: Runs) -> tuple[np.ndarray, np.ndarray]:
    """Return the longest run from each message on that occurs in training.

    Args:
      looked_up: the sequences to look up, E messages; a run stays within its sequence.
      training: the sequences to search, likewise.

    Returns:
      (length int64 [E], 0 for none; place int64 [E], the message of training at which such a run begins).
    """
    text = _joined([training, looked_up])
    names, order = _numbered(text.symbol, longest=int(np.diff(looked_up.edges).max(initial=1)))
    searched = len(training.symbol) + len(training.edges) - 1  # with the separators
    rows = text.place[1]
    # In sorted order, the training run with the longest common start is the nearest one before or after.
    is_training = (order < searched) & text.is_message[order]
    at = np.empty(len(order), np.int64)
    at[order] = np.arange(len(order))
    before = np.maximum.accumulate(np.where(is_training, np.arange(len(order)), -1))
    after = np.minimum.accumulate(np.where(is_training, np.arange(len(order)), len(order))[::-1])[::-1]
    length, place = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    message = np.cumsum(text.is_message) - 1  # of training: without the separators
    for neighbour in (before[at[rows]], after[at[rows]]):
        there = np.flatnonzero((neighbour >= 0) & (neighbour < len(order)))
        found = order[neighbour[there]]
        common = _common_start(names, rows[there], found)
        longer = common > length[there]
        length[there[longer]], place[there[longer]] = common[longer], message[found[longer]]
    return length, place


@dataclasses.dataclass(frozen=True, eq=False)
class _Text:
    """All messages in one array, a separator of its own after each sequence.

    Attributes:
      symbol: int64 [N], equal for equal messages.
      is_message: bool [N].
      place: for each of the joined runs, int64 [E], where its messages are.
    """

    symbol: np.ndarray
    is_message: np.ndarray
    place: list[np.ndarray]


def _joined(parts: Sequence[Runs]) -> _Text:
    same = np.zeros(sum(len(part.symbol) for part in parts), np.int64)
    for column in np.concatenate([part.symbol for part in parts]).T:
        _, value = np.unique(column, return_inverse=True)
        _, same = np.unique(same * (int(value.max(initial=0)) + 1) + value, return_inverse=True)
    lengths = np.concatenate([np.diff(part.edges) for part in parts])
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(same)) + sequence
    symbol = np.full(len(same) + len(lengths), -1)
    symbol[place] = same
    is_message = symbol >= 0
    symbol[~is_message] = len(same) + np.arange(len(lengths))
    first = np.cumsum([0, *(len(part.symbol) for part in parts)])
    return _Text(symbol, is_message, [place[a:b] for a, b in itertools.pairwise(first)])


def _numbered(symbol: np.ndarray, *, longest: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Number the runs of lengths 1, 2, 4, ... up to the power of two above `longest`, and sort the places by runs.

    Returns:
      (int32 [N] for each power of two; int64 [N], the places in sorted order of their runs of the largest length).
    """
    _, name = np.unique(symbol, return_inverse=True)
    names, width = [name.astype(np.int32)], 1
    while width <= longest:
        tail = np.zeros(len(name), np.int64)  # past the end of all: below every number
        tail[:-width] = name[width:] + 1
        _, name = np.unique(name * (len(name) + 1) + tail, return_inverse=True)
        names.append(name.astype(np.int32))
        width *= 2
    return names, np.argsort(name, kind="stable")


def _common_start(names: list[np.ndarray], one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the length of the common start of the runs at two places, int64 [E]; separators end it."""
    common, last = np.zeros(len(one), np.int64), len(names[0]) - 1
    for power in range(len(names) - 1, -1, -1):
        left, right = one + common, other + common
        within = np.maximum(left, right) <= last
        equal = within & (names[power][np.minimum(left, last)] == names[power][np.minimum(right, last)])
        common += np.where(equal, 1 << power, 0)
    return common


def measure_memorisation(
    training: Flow, real: Flow, generated: Mapping[str, Flow], *, gaps: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Compare how long the runs are that generated and held-out real flow share with training data.

    Args:
      training: what the generators were fitted on.
      real: held-out real flow, with sequences as long as the generated ones.
      generated: flows by name.
      gaps: whether messages carry their gaps, see `messages_of`.
      seed: the seed of the permutations.

    Returns:
      Plain values as in JSON: gaps; training_messages; flows: by name ("real" first) sequences, `longest` (messages),
      `longest_of` (the sequence it is in), `longest_at` (the first message of training that it equals), `mean` and
      `median` over sequences of each one's longest run, `share` (mean share of its sequence that the longest run is);
      and for generated flows `beyond` (share of sequences whose longest run is longer than any of real) and `p`
      (one-sided permutation test of sequences for a larger mean).

    Raises:
      InputError: there is no training message to search.
    """
    searched = messages_of(training, gaps=gaps)
    if len(searched.symbol) == 0:
        raise InputError(
            "no training data to search",
            where="memorisation",
            expected="a flow with at least one message",
            was=0,
            remedy="pass the flow that the generator was fitted on",
        )
    flows, longest = {}, {}
    for name, flow in {"real": real, **generated}.items():
        runs = messages_of(flow, gaps=gaps)
        length, place = longest_runs(runs, searched)
        longest[name] = _longest_by_sequence(length, runs.edges)
        flows[name] = _described(length, searched.row[place], runs.edges, longest[name])
    rng = np.random.default_rng(seed)
    for name in generated:
        both = len(longest[name]) and len(longest["real"])
        flows[name]["beyond"] = float(np.mean(longest[name] > longest["real"].max())) if both else None
        flows[name]["p"] = _larger_mean(longest[name], longest["real"], rng) if both else None
    return {"gaps": gaps, "training_messages": len(training.kind), "flows": flows}


def _longest_by_sequence(length: np.ndarray, edges: np.ndarray) -> np.ndarray:
    filled = edges[:-1][np.diff(edges) > 0]
    return np.maximum.reduceat(length, filled) if len(filled) else np.zeros(0, np.int64)


def _described(length: np.ndarray, place: np.ndarray, edges: np.ndarray, longest: np.ndarray) -> dict[str, Any]:
    if not len(longest):
        return {"sequences": 0, **dict.fromkeys(("longest", "longest_of", "longest_at", "mean", "median", "share"))}
    top = int(np.argmax(length))
    lengths = np.diff(edges)
    return {
        "sequences": len(longest),
        "longest": int(length[top]),
        "longest_of": int(np.searchsorted(edges, top, side="right")) - 1,
        "longest_at": int(place[top]) if length[top] else None,
        "mean": float(longest.mean()),
        "median": float(np.median(longest)),
        "share": float(np.mean(longest / lengths[lengths > 0])),
    }


def _larger_mean(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> float:
    both = np.concatenate([one, other])
    drawn = rng.permuted(np.tile(both, (DRAWS, 1)), axis=1)[:, : len(one)].mean(axis=1)
    return float((1 + np.sum(drawn >= one.mean() - 1e-9)) / (1 + DRAWS))


def memorisation_table(result: dict[str, Any]) -> Table:
    """Return a rich table of `measure_memorisation`."""
    what = "kind, side, relative price, size" + (", gap" if result["gaps"] else "")
    table = Table(
        title=f"Longest run found in {result['training_messages']:,} training messages",
        caption=f"messages by {what}; beyond: sequences with a longer run than any of real; p: one-sided, of the mean",
    )
    for heading in ("flow", "sequences", "longest", "mean", "median", "of a sequence", "beyond", "p"):
        table.add_column(heading, justify="left" if heading == "flow" else "right")
    for name, flow in result["flows"].items():
        cells = [number(flow.get(column)) for column in ("mean", "median", "share", "beyond", "p")]
        if name == "real":
            cells[3:] = ["", ""]
        longest = "n/a" if flow["longest"] is None else f"{flow['longest']:,}"
        table.add_row(name, f"{flow['sequences']:,}", longest, *cells)
    return table
