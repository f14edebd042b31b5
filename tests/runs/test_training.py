"""Records and training from Python: the same as the command line makes, and nothing is printed."""

import itertools
import json

import numpy as np
import pytest

import lob_jax
from lob_jax.config import sections
from lob_jax.config.sections import plain
from lob_jax.data.records.manifest import load_manifest
from lob_jax.models.inputs import fields_read
from lob_jax.runs import training
from lob_jax.runs.training import open_training_data
from lob_jax.tokens.vocabulary import REGIME_BASE


def test_training_tells_each_validation_and_leaves_a_run(trained):
    steps, losses = zip(*trained.told, strict=True)
    assert steps == (2, 4) and trained.summary.steps == 4 and trained.summary.interrupted is None
    assert trained.summary.best_validation_loss == min(losses) and trained.summary.best_step in steps
    left = {path.name for path in trained.workdir.iterdir()}
    assert {"records", "checkpoints", "metrics.jsonl", "config.json", "ingest_report.json"} <= left
    assert json.loads((trained.workdir / "config.json").read_text()) == {
        "version": lob_jax.__version__,
        **plain(trained.config),
    }


def test_book_features_are_standardised_by_the_training_split_and_stay_so(trained, run):
    opened = open_training_data(trained.config, trained.workdir)
    windows = [batch["book"][batch["event"] >= 0] for batch in itertools.islice(opened.batches(opened.start), 20)]
    embeddings = run.params["embeddings"]
    every_KF = (np.concatenate(windows) - embeddings["book_mean"]) / embeddings["book_deviation"]
    assert np.abs(every_KF.mean(0)).max() < 0.2 and np.abs(every_KF.std(0) - 1).max() < 0.2
    np.testing.assert_array_equal(
        [embeddings["book_mean"], embeddings["book_deviation"]], opened.measured.moments["book"]
    )


def test_training_windows_have_what_the_model_reads_and_validation_all_that_it_holds(trained):
    config = trained.config.copy_and_resolve_references()
    every, validated = (data_batch(config, trained.workdir, which) for which in ("train", "validation"))
    config.model.book_state = config.model.time_of_day = False
    config.model.regime = "prefix"  # whose token is made from the regime, which the model does not read
    fewer, still = (data_batch(config, trained.workdir, which) for which in ("train", "validation"))
    model = sections.model_config(config)
    assert set(fields_read(model)) <= set(fewer) and not {"book", "time_of_day"} & set(fewer)
    assert {"book", "time_of_day"} <= set(every) & set(validated) & set(still)
    assert REGIME_BASE <= fewer["tokens"][0, 0] < REGIME_BASE + model.n_regimes
    config.model.regime = "none"
    fewer = data_batch(config, trained.workdir, "train")
    assert set(fewer) == set(every) - {"book", "time_of_day"}
    for name, array in fewer.items():
        np.testing.assert_array_equal(array, every[name])


@pytest.mark.parametrize(
    "backend, cores, asked, expected",
    [
        ("cpu", 16, None, 0),
        ("cpu", 16, 3, 3),
        ("gpu", 16, None, 15),
        ("tpu", 96, None, 15),
        ("gpu", 4, None, 3),
        ("gpu", 1, None, 1),
        ("gpu", 16, 0, 0),
    ],
)
def test_processes_read_windows_for_an_accelerator_unless_a_number_is_given(
    monkeypatch, backend: str, cores: int, asked: int | None, expected: int
):
    monkeypatch.setattr(training.jax, "default_backend", lambda: backend)
    monkeypatch.setattr(training.os, "sched_getaffinity", lambda _: set(range(cores)))
    assert training.reading_processes(asked) == expected


def data_batch(config, workdir, which: str) -> dict[str, np.ndarray]:
    """Return the first batch of a run's training, or the windows of its validation."""
    data = open_training_data(config, workdir)
    return next(iter(data.batches(data.start))) if which == "train" else data.validation[0]


def test_a_run_may_train_on_the_mirrored_market_too_and_is_validated_on_the_real_one(trained):
    config = trained.config.copy_and_resolve_references()
    plain_data = open_training_data(config, trained.workdir)
    config.data.mirror = True
    both = open_training_data(config, trained.workdir)
    assert both.windows == 2 * plain_data.windows
    batches = list(itertools.islice(both.batches(both.start), both.windows // config.train.batch_size))
    seen = [window for batch in batches for window in batch["example"].tolist()]
    assert max(seen) >= plain_data.windows and len(set(seen)) == len(seen)
    for one, other in zip(plain_data.validation, both.validation, strict=True):
        assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_training_that_is_over_is_not_begun_again_and_nothing_is_printed(trained, capfd):
    told = []
    again = lob_jax.train(trained.config, trained.workdir, on_validation=lambda *one: told.append(one))
    assert again == trained.summary and told == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_samples_are_drawn_beside_the_callers_own_validation(trained, tmp_path, capfd):
    config, told = trained.config.copy_and_resolve_references(), []
    config.train.steps, config.train.sample_events = 2, 3
    lob_jax.train(config, tmp_path, on_validation=lambda step, *_: told.append(step))
    (line,) = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert json.loads(line)["events"] == 3 and told == [2]
    assert capfd.readouterr() == ("", "")


def test_records_are_written_once_and_their_days_told(trained, tmp_path, capfd):
    told, read = [], []
    manifest = lob_jax.prepare(
        trained.config, tmp_path, on_day=lambda name, part: told.append((name, part["split"])), on_bytes=read.append
    )
    assert told == [("SYN 2024-01-02", split) for split in ("train", "validation", "test")]
    assert manifest == load_manifest(trained.workdir / "records") == load_manifest(tmp_path / "records")
    assert lob_jax.prepare(trained.config, tmp_path, on_day=lambda *one: told.append(one)) == manifest
    assert len(told) == 3 and capfd.readouterr() == ("", "")


def test_the_format_of_records_is_no_part_of_a_runs_identity(trained, monkeypatch):
    """Records that are prepared again in another format have the same tokens and splits: the run may be resumed."""
    as_made = open_training_data(trained.config, trained.workdir).fingerprint
    assert "format" not in as_made and {"vocabulary", "record_events", "inputs", "days"} <= as_made.keys()
    manifest = load_manifest(trained.workdir / "records")
    manifest["fingerprint"]["format"] += 1
    monkeypatch.setattr(training, "load_manifest", lambda _: manifest)
    assert open_training_data(trained.config, trained.workdir).fingerprint == as_made
    again = lob_jax.train(trained.config, trained.workdir)
    assert again == trained.summary


def test_a_configuration_that_cannot_be_is_refused_before_anything_is_made(trained, tmp_path):
    config = trained.config.copy_and_resolve_references()
    config.model.n_heads = 3
    for call in (lob_jax.prepare, lob_jax.train):
        with pytest.raises(lob_jax.InputError):
            call(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
