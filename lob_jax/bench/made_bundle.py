"""A bundle for measurements of speed, which does not depend on what a model has learned: one step of training."""

import pathlib

import lob_jax
from lob_jax.bench.processes import alone
from lob_jax.export.config import ExportConfig
from lob_jax.runs.export import export_run

LITTLE = {
    "data.synthetic_days": 1,
    "data.synthetic_events": 12_000,
    "data.record_events": 1_024,
    "data.embargo_events": 600,
    "data.processes": 1,
    "model.dtype": "float32",
    "train.accumulation": 1,
    "train.batch_size": 1,
    "train.micro_batch": 1,
    "train.steps": 1,
    "train.warmup_steps": 1,
    "train.validate_every": 1,
    "train.validation_windows": 1,
}
SETTINGS = ExportConfig(formats=("onnx",), precisions=("int8",), opset=18, windows=1, name="bundle")


def make_bundle(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Write the bundle of a bundled configuration, in float32 and int8, and return its folder.

    It is made in a process of its own, so that JAX and what it has compiled do not stay in this one.

    Args:
      name: the configuration, such as "small".
      folder: where the run and the bundle are written.
    """
    return alone(_made, name, folder)


def _made(name: str, folder: pathlib.Path) -> pathlib.Path:
    workdir = folder / name
    lob_jax.train(lob_jax.get_config(name, LITTLE), str(workdir))
    return export_run(lob_jax.load_run(workdir), workdir / SETTINGS.name, SETTINGS).bundle.folder
