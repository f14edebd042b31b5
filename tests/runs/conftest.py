"""One small run, prepared and trained from Python, that the tests of this folder ask."""

from typing import NamedTuple

import pytest

import lob_jax
from lob_jax.export.config import ExportConfig
from lob_jax.runs.export import export_run

SMALL = {
    "data.synthetic_days": 1,
    "data.synthetic_events": 3000,
    "data.record_events": 256,
    "data.embargo_events": 40,
    "data.book_levels": 3,
    "data.processes": 1,
    "model.d_model": 16,
    "model.n_layers": 1,
    "model.n_heads": 2,
    "model.d_ff": 32,
    "model.max_seq_length": 64,
    "train.batch_size": 8,
    "train.micro_batch": 1,
    "train.steps": 4,
    "train.warmup_steps": 1,
    "train.validate_every": 2,
    "train.validation_windows": 16,
    "evaluate.direction_events": 20,
    "evaluate.ngram_orders": (1, 2),
    "generate.prompt_events": 20,
    "generate.events": 12,
    "generate.paths": 3,
}
EXPORT = ExportConfig(formats=("onnx", "stablehlo"), precisions=("int8", "int4"), opset=18, windows=4, name="bundle")


class Trained(NamedTuple):
    """A run's folder, its configuration, how its training ended, and the (step, loss) of each validation."""

    workdir: object
    config: object
    summary: object
    told: list


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    workdir, config, told = tmp_path_factory.mktemp("run"), lob_jax.get_config("tiny", SMALL), []
    summary = lob_jax.train(config, str(workdir), on_validation=lambda step, loss, _: told.append((step, loss)))
    return Trained(workdir, config, summary, told)


@pytest.fixture(scope="session")
def run(trained):
    return lob_jax.load_run(trained.workdir)


@pytest.fixture(scope="session")
def day():
    return lob_jax.load_incremental_data(events=400, seed=5)


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    return export_run(run, tmp_path_factory.mktemp("exported") / "bundle", EXPORT)
