"""The files and folders that a run writes to its folder, and how to write a file atomically."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from lob_jax.config_sources import RUN_FILE
from lob_jax.failures import FOLDER as FAILURES
from lob_jax.later_keys import VERSION, version

# In the order in which they are written.
LEAVINGS = {
    "inspection.json": "what is in the files",
    "figures": "figures as PNG: depth and trades, the learning rates tried, reliability of predictions",
    "converted": "the days in another format",
    "ingest_report.json": "what was read from the feed",
    "quarantine": "rows that violate their format",
    "records": "token records, by split (ArrayRecord)",
    "records_synthetic": "token records of simulated flow to train on",
    "find_lr.json": "loss by learning rate, and the rate suggested",
    "overfit.json": "loss by step on a single batch",
    "sweep.json": "every trial of a search: parameters, loss, state, folder",
    "sweep.db": "the same for Optuna, from which the search resumes",
    "trials": "the run of each trial",
    RUN_FILE: "the complete configuration, and the version of lob_jax",
    "checkpoints": "the latest and the best checkpoints",
    "damaged": "checkpoints whose files have changed since they were saved",
    "pruned.json": "the run that the model was cut out of, what is left of it, and bits before and after",
    "init.json": "the run that this one started from: folder, step, SHA-256 of its parameters, differences",
    "own_flow.npz": "how that model continues the market at places of the training split, if the run trains on it",
    "metrics.jsonl": "loss, learning rate, speed, by step",
    "tensorboard": "the same, for TensorBoard",
    "heartbeat.json": "the time of the run's last sign of life",
    "profile": "a profiler trace of a few steps",
    "distortion.json": "what validation events lose as compact tokens",
    "samples.jsonl": "events generated at each validation",
    "evaluation.json": "test results of the best checkpoint and the baselines",
    "event_bits.npz": "bits of each test event under the best checkpoint, for --mode=compare",
    "audit.json": "whether a test event has shaped the run, check by check",
    "forecast.json": "how well a forecaster predicts the direction of the mid price, with baselines",
    "forecast.safetensors": "its parameters, of the seed that validated best",
    "forecast.onnx": "the same forecaster as a graph for ONNX Runtime",
    "score.json": "how close generated flow is to real flow, by every score",
    "generated": "new events, one folder per call: each path, and their forecast as JSON and PNG",
    "report.html": "everything of this folder in one page, with figures",
    "report.json": "the same without figures",
    "weights.safetensors": "the best checkpoint's parameters",
    FAILURES: "stack traces of internal errors, to be reported",
}


def write_json(path: pathlib.Path, content: Any) -> None:
    """Write a JSON file atomically."""
    partial = path.with_name(f"{path.name}.partial")  # in the same folder: os.replace is atomic within a file system
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def write_config(workdir: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Write config.json, which `run_config` reads: the version of lob_jax and a configuration as plain values."""
    write_json(workdir / RUN_FILE, {VERSION: version(), **settings})


def overview(workdir: pathlib.Path) -> Table:
    """Return a table of the files and folders in a run's folder."""
    shown = Table(show_header=False)
    for name, meaning in LEAVINGS.items():
        if (workdir / name).exists():
            shown.add_row(name, meaning)
    return shown
