"""The audit of a run: clean as trained, and with each leak that a run can have planted in it."""

import dataclasses
import functools
import json

import pytest

import lob_jax
from lob_jax.config import sections
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.tokenizer_fit import fit_tokenizer
from lob_jax.data.windows.tape import read_tape
from lob_jax.evaluation.leakage import Finding
from lob_jax.forecasting.examples import fit_scaling
from lob_jax.runs.leakage import _check_bins, _check_choice, _check_fits, _check_normalisers, audit
from lob_jax.runs.records import find_days, reading_of, record_plan
from lob_jax.runs.training import validation_batches, windows_of
from lob_jax.stages import model as stage
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.training.run.identity import measure
from lob_jax.training.run.weights import save_weights
from tests.runs.conftest import SMALL

COMPACT = {"tokens.kind": "compact", "tokens.time_digits": None, "data.embargo_events": 70}
COMPACT |= {"model.queue_state": False, "model.pointer": False}


@pytest.fixture(scope="module")
def elsewhere(run, tmp_path_factory):
    """The same run in a folder of its own, in which leaks are planted."""
    workdir = tmp_path_factory.mktemp("planted")
    for name in ("records", "checkpoints"):
        (workdir / name).symlink_to(run.workdir / name)
    (workdir / "evaluation.json").write_text(json.dumps(lob_jax.evaluate(run)))
    return dataclasses.replace(run, workdir=workdir)


@pytest.mark.slow
def test_a_run_as_trained_has_no_leak(elsewhere):
    findings = audit(elsewhere, full=True)
    assert [(one.leak, one.unchecked) for one in findings] == [(None, None)] * len(findings)
    assert (
        len(findings)
        > len(audit(elsewhere))
        == len(json.loads((elsewhere.workdir / "evaluation.json").read_text())["audit"])
    )


@pytest.mark.slow
def test_a_checkpoint_chosen_on_test_windows_is_found(run):
    windows = validation_batches(run.config, windows_of(run.config, run.workdir, "test", run.beside))
    on_test = measure(windows, sections.train_config(run.config))
    planted = dataclasses.replace(run, checkpoint=dataclasses.replace(run.checkpoint, measure=on_test))
    assert [one.leak for one in _check_choice(planted)] == [None, "its loss is that of other windows"]


@pytest.mark.slow
def test_other_validation_windows_than_in_training_are_unchecked(run):
    config = lob_jax.get_config("tiny", SMALL | {"train.validation_windows": 5})
    finding = _check_choice(dataclasses.replace(run, config=config))[1]
    assert finding.leak is None and "train.validation_windows" in finding.unchecked


@pytest.mark.slow
def test_a_checkpoint_that_did_not_validate_best_is_found(run):
    planted = dataclasses.replace(run, checkpoint=dataclasses.replace(run.checkpoint, step=run.step + 1))
    assert f"step {run.step} has" in _check_choice(planted)[0].leak


@pytest.mark.slow
def test_bins_of_all_days_are_found(run, tmp_path):
    config = lob_jax.get_config("tiny", SMALL | COMPACT)
    feed, days = find_days(config)
    plan, reading = record_plan(config), reading_of(config, tmp_path)
    for share, leak in ((plan.train_fraction, None), (0.9, "they are bins of other events")):
        seen = dataclasses.replace(plan, train_fraction=share, validation_fraction=0.05)
        bins = fit_tokenizer(CompactTokenizer, feed, days, plan=seen, reading=reading, store=tmp_path)
        finding = _check_bins(dataclasses.replace(run, config=config, tokenizer=bins))
        assert (finding.leak, finding.unchecked) == (leak, None)


@pytest.mark.slow
def test_bins_of_days_that_are_gone_are_unchecked(run, tmp_path):
    changes = COMPACT | {"data.path": str(tmp_path / "gone.csv")}
    gone = dataclasses.replace(run, config=lob_jax.get_config("tiny", SMALL | changes), tokenizer=FITTED)
    assert "cannot be read" in _check_bins(gone).unchecked


@pytest.mark.slow
def test_bins_of_files_are_not_fitted_again_on_a_simulated_day(run, tmp_path):
    """Without a path a configuration means the simulator, also where the records are of files."""
    manifest = json.loads((run.workdir / "records" / "records.json").read_text())
    manifest["fingerprint"]["inputs"]["feed"] = "lobster"
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "records.json").write_text(json.dumps(manifest))
    config = lob_jax.get_config("tiny", SMALL | COMPACT)
    finding = _check_bins(dataclasses.replace(run, workdir=tmp_path, config=config, tokenizer=FITTED))
    assert finding.unchecked == "no path to the days, of the lobster feed"


class Fitted:
    """A tokenizer of which only this is asked."""

    fitted = True


FITTED = Fitted()


@pytest.mark.slow
def test_a_baseline_of_test_events_is_found_by_its_digest(elsewhere):
    path = elsewhere.workdir / "evaluation.json"
    stored = path.read_text()
    planted = json.loads(stored)
    planted["fitted"]["ngram"] = planted["fitted"]["zero_order"]
    path.write_text(json.dumps(planted))
    try:
        assert _check_fits(elsewhere).leak == "another fit: ngram"
    finally:
        path.write_text(stored)


@pytest.mark.slow
def test_the_command_prints_every_check_and_fails_on_a_leak(elsewhere, capsys, monkeypatch):
    audited = functools.partial(stage.audit, elsewhere.config, elsewhere.workdir)
    assert audited() is None
    printed = capsys.readouterr().out
    stored = json.loads((elsewhere.workdir / "audit.json").read_text())
    assert stored["step"] == elsewhere.step and f"none in {len(stored['findings'])} checks" in printed
    assert printed.count(" holds ") == len(stored["findings"]) == len(audit(elsewhere, full=True))
    monkeypatch.setattr(stage, "run_audit", lambda run, full: [Finding("a is so", leak="it is b"), Finding("c is so")])
    assert audited() == stage.LEAK_FOUND
    assert "leak: it is b" in (printed := capsys.readouterr().out) and "1 of 2 checks" in printed


@pytest.mark.slow
def test_normalisers_of_test_events_are_found(elsewhere):
    layout = sections.forecast_layout(elsewhere.config)
    for split, leak in (("train", None), ("test", "they are those of other events")):
        tape = read_tape(open_records(elsewhere.workdir / "records", split), elsewhere.tokenizer, levels=layout.levels)
        about = {"scaling": fit_scaling(tape, layout).plain()}
        save_weights(elsewhere.workdir / "forecast.safetensors", {}, about=about)
        assert _check_normalisers(elsewhere).leak == leak
    (elsewhere.workdir / "forecast.safetensors").unlink()
