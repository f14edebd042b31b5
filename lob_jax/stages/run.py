"""Run the stage of a mode."""

import contextlib
import importlib
import pathlib

import ml_collections

from lob_jax.lock import locked

# A stage is imported only when it runs: importing JAX takes seconds, and stages that only read files do not need it.
STAGES = {
    "inspect": "lob_jax.stages.data",
    "convert": "lob_jax.stages.data",
    "prepare": "lob_jax.stages.data",
    "summary": "lob_jax.stages.summary",
    "train": "lob_jax.stages.model",
    "evaluate": "lob_jax.stages.model",
    "audit": "lob_jax.stages.model",
    "generate": "lob_jax.stages.generate",
    "export": "lob_jax.stages.export",
    "serve": "lob_jax.stages.serve",
    "experiments": "lob_jax.stages.experiments",
    "prune": "lob_jax.stages.model",
    "sweep": "lob_jax.stages.sweep",
    "find_lr": "lob_jax.stages.probe",
    "overfit": "lob_jax.stages.probe",
    "forecast": "lob_jax.stages.forecast",
    "report": "lob_jax.stages.report",
    "compare": "lob_jax.stages.report",
    "score": "lob_jax.stages.score",
    "configs": "lob_jax.stages.shown_config",
    "show_config": "lob_jax.stages.shown_config",
}

# Stages that overwrite their earlier results: two at once would mix theirs. Training, sweeps and the preparation of
# records take separate locks themselves.
ALONE = {
    "find_lr": "testing learning rates",
    "overfit": "overfitting one batch",
    "forecast": "training a forecaster",
    "score": "scoring generated flow",
}


def run(mode: str, config: ml_collections.ConfigDict, *, workdir: pathlib.Path) -> int | None:
    """Run one mode in a run's folder; return the exit status, None for success.

    Raises:
      InputError: see the stage; or another process is running it in the same folder.
    """
    stage = getattr(importlib.import_module(STAGES[mode]), mode)
    with locked(workdir / f"{mode}.lock", doing=ALONE[mode]) if mode in ALONE else contextlib.nullcontext():
        return stage(config, workdir)
