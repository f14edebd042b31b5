"""Run the protocols of FI-2010: pair training and test files, and report the scores of a forecaster and baselines."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lob_jax.forecasting.compare import VALIDATION, Trained, report, score_all, sizes
from lob_jax.forecasting.examples import ForecastLayout
from lob_jax.forecasting.fi2010 import EVENTS_A_SNAPSHOT, PROTOCOLS, Files, Snapshots, read_snapshots
from lob_jax.forecasting.floors import majority
from lob_jax.forecasting.snapshots import SnapshotSplits, last_label_table, split_snapshots

FLOORS = {"majority": majority, "last label": last_label_table}


class Fold(NamedTuple):
    """A forecaster trained and tested on one pair of training and test files.

    Attributes:
      number: number of the training file, which is that of its last day.
      splits: the examples.
      trained: one per seed.
    """

    number: int
    splits: SnapshotSplits
    trained: Sequence[Trained]


def read_folds(
    files: Files, layout: ForecastLayout, *, protocol: str, stride: int
) -> Iterator[tuple[int, SnapshotSplits]]:
    """Yield the number of each training file of a protocol, and the examples.

    Args:
      files: the files.
      layout: what an example contains.
      protocol: one of `fi2010.PROTOCOLS`.
      stride: events between two examples; there is a snapshot for every ten, so that 10 and less take all of them.

    Raises:
      InputError: a file is not of the format, or too short.
    """
    every = max(1, stride // EVENTS_A_SNAPSHOT)
    for number, tests in PROTOCOLS[protocol]:
        parts = [read_snapshots([files.train[number]]), read_snapshots([files.test[one] for one in tests])]
        yield number, split_snapshots(*parts, layout, stride=every, validation=VALIDATION)


def benchmark(folds: Sequence[Fold], files: Files, *, model: str, protocol: str, block_events: int) -> dict[str, Any]:
    """Score a forecaster and the baselines in FLOORS on every fold, as JSON-serialisable values.

    Args:
      folds: what was trained.
      files: the files that it was trained on.
      model: name of the forecaster.
      protocol: one of `fi2010.PROTOCOLS`.
      block_events: events per bootstrap block.

    Returns:
      dataset; horizons, examples and class shares, over all folds; block_events; the values of `compare.report`, means
      over the folds; and `folds`, one entry each: file, examples, segments found, and scores by model and horizon.
    """
    compared = [
        score_all(
            fold.splits.test,
            {name: [floor(fold.splits.train, fold.splits.test)] for name, floor in FLOORS.items()}
            | {model: [one.predictions.probability for one in fold.trained]},
            block_events=block_events,
            seed=fold.number,  # not alike for all: the folds' draws are averaged as independent ones
        )
        for fold in folds
    ]
    each = [sizes(fold.splits) for fold in folds]
    return {
        "dataset": {"name": "FI-2010", "set": files.name, "protocol": protocol},
        "means_over": "folds and seeds" if len(folds) > 1 else "seeds",
        "horizons": each[0]["horizons"],
        "examples": {name: sum(one["examples"][name] for one in each) for name in each[0]["examples"]},
        "shares": _weighted([one["shares"] for one in each], [one["examples"]["test"] for one in each]),
        "block_events": block_events,
        **report(compared, models=[model], references=["last label"]),
        "folds": [
            {
                "training_file": files.train[fold.number].name,
                "examples": one["examples"],
                "segments": {
                    "train": _segments(fold.splits.train.snapshots),
                    "test": _segments(fold.splits.test.snapshots),
                },
                "scores": report([scores], models=[], references=[])["scores"],
            }
            for fold, one, scores in zip(folds, each, compared, strict=True)
        ],
    }


def _segments(snapshots: Snapshots) -> int:
    return int(snapshots.segment[-1]) + 1


def _weighted(shares: list[list[dict[str, float]]], weights: list[int]) -> list[dict[str, float]]:
    """Return the class shares of all folds together, by horizon."""
    return [
        {name: float(np.average([one[name] for one in of_horizon], weights=weights)) for name in of_horizon[0]}
        for of_horizon in zip(*shares, strict=True)
    ]
