"""Which function each mode runs."""

import contextlib
import importlib
import pathlib

import ml_collections

from lob_jax.lock import locked

# A stage is imported when it is asked for: those that look at files need no JAX, which takes seconds.
STAGES = {
    "inspect": "lob_jax.stages.data",
    "convert": "lob_jax.stages.data",
    "prepare": "lob_jax.stages.data",
    "summary": "lob_jax.stages.summary",
    "train": "lob_jax.stages.model",
    "evaluate": "lob_jax.stages.model",
    "generate": "lob_jax.stages.generate",
    "export": "lob_jax.stages.model",
    "sweep": "lob_jax.stages.sweep",
    "find_lr": "lob_jax.stages.probe",
    "overfit": "lob_jax.stages.probe",
    "forecast": "lob_jax.stages.forecast",
    "configs": "lob_jax.stages.shown_config",
    "show_config": "lob_jax.stages.shown_config",
}

# What writes its results in the end, over those of the time before: two at once would mix. Training, sweeps and the
# preparation of records have locks of their own.
ALONE = {
    "find_lr": "testing learning rates",
    "overfit": "overfitting one batch",
    "forecast": "training a forecaster",
}


def run(mode: str, config: ml_collections.ConfigDict, *, workdir: pathlib.Path) -> int | None:
    """Run one mode in a run's folder; return the exit status, None for success.

    Raises:
      InputError: see the stage, or another process runs the same one there.
    """
    stage = getattr(importlib.import_module(STAGES[mode]), mode)
    with locked(workdir / f"{mode}.lock", doing=ALONE[mode]) if mode in ALONE else contextlib.nullcontext():
        return stage(config, workdir)
