"""What a run leaves in its folder, and how files get there whole."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from lob_jax.failures import FOLDER as FAILURES
from lob_jax.later_keys import VERSION, version

CONFIG = "config.json"
# In the order that it is made.
LEAVINGS = {
    "inspection.json": "what is in the files",
    "figures": "what was found, as PNG: depth and trades, the learning rates tried",
    "converted": "the days in another format",
    "ingest_report.json": "what was read from the feed",
    "quarantine": "rows that are not what the format says",
    "records": "token records, by split (ArrayRecord)",
    "find_lr.json": "loss by learning rate, and the rate suggested",
    "overfit.json": "loss by step on a single batch",
    "sweep.json": "every trial of a search: parameters, loss, state, folder",
    "sweep.db": "the same for Optuna, from which the search goes on",
    "trials": "the run of each trial",
    CONFIG: "the whole configuration, and the version of lob_jax",
    "checkpoints": "the latest and the best checkpoints",
    "damaged": "checkpoints whose files are not as they were saved",
    "metrics.jsonl": "loss, learning rate, speed, by step",
    "tensorboard": "the same, for TensorBoard",
    "heartbeat.json": "when the run last gave a sign of life",
    "profile": "a profiler trace of a few steps",
    "distortion.json": "what validation events lose as compact tokens",
    "samples.jsonl": "events generated at each validation",
    "evaluation.json": "the test of the best checkpoint, beside baselines",
    "forecast.json": "how well a forecaster tells the direction of the mid, beside floors",
    "forecast.safetensors": "its parameters, of the seed that validated best",
    "generated": "new events, a folder a call: path by path, and their forecast as JSON and PNG",
    "weights.safetensors": "the best checkpoint's parameters",
    FAILURES: "the traces of faults of the program, to be reported",
}


def write_json(path: pathlib.Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def write_config(workdir: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Write config.json: the version of lob_jax and a configuration as plain values; `sections.restored` reads it."""
    write_json(workdir / CONFIG, {VERSION: version(), **settings})


def overview(workdir: pathlib.Path) -> Table:
    """Return a table of what lies in a run's folder."""
    shown = Table(show_header=False)
    for name, meaning in LEAVINGS.items():
        if (workdir / name).exists():
            shown.add_row(name, meaning)
    return shown
