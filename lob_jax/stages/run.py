"""Which function each mode runs."""

import importlib
import pathlib

import ml_collections

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
}


def run(mode: str, config: ml_collections.ConfigDict, *, workdir: pathlib.Path) -> int | None:
    """Run one mode in a run's folder; return the exit status, None for success."""
    return getattr(importlib.import_module(STAGES[mode]), mode)(config, workdir)
