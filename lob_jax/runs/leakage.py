"""Audit a run: no test event has shaped its records, its fits or the choice of its checkpoint."""

import json
import pathlib
import tempfile
from typing import Any, cast

import numpy as np

from lob_jax.config import sections
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import record_instrument
from lob_jax.data.records.tokenizer_fit import fit_tokenizer
from lob_jax.data.windows.tape import read_tape
from lob_jax.errors import InputError
from lob_jax.evaluation.baseline import Fitting, fit_baselines
from lob_jax.evaluation.direction.moves import record_moves
from lob_jax.evaluation.direction.state_table import fit_state_table
from lob_jax.evaluation.leakage import (
    Finding,
    check_content,
    check_fitted,
    check_splits,
    check_thresholds,
    digest_of_baseline,
    digest_of_table,
    read_spans,
)
from lob_jax.feeds.format import SYNTHETIC
from lob_jax.forecasting.examples import fit_scaling
from lob_jax.report.material import newest_generated
from lob_jax.runs.continuations.orders import digest_of_history, training_orders
from lob_jax.runs.load import Run
from lob_jax.runs.records import find_days, reading_of, record_plan
from lob_jax.runs.training import validation_batches, windows_of
from lob_jax.tokens.tokenizer import Ability, FittedTokenizer
from lob_jax.training.run.checkpoint import ranked, read_metas
from lob_jax.training.run.identity import measure
from lob_jax.training.run.weights import load_weights


def audit(run: Run, *, full: bool = False) -> list[Finding]:
    """Check that no test event has shaped a run.

    Args:
      run: a trained run.
      full: whether to read every record, and to fit again everything that was fitted, which takes about as long as the
        evaluation; otherwise only the borders of the splits and the choice of the checkpoint are checked.
    """
    folder, manifest = run.workdir / "records", load_manifest(run.workdir / "records")
    context = max(manifest["fingerprint"]["context"], record_plan(run.config).context)
    embargo = manifest["fingerprint"]["embargo_events"]
    findings = check_splits(read_spans(folder, every=full), embargo=embargo, context=context)
    findings += [*_check_choice(run), *_check_source(run, manifest["fingerprint"]["days"])]
    if full:
        findings += [*check_content(folder), check_thresholds(run.beside, open_records(folder, "train"))]
        findings += [_check_bins(run), _check_fits(run), _check_normalisers(run), *_check_fills(run)]
    return findings


def _check_choice(run: Run) -> list[Finding]:
    """Check what the checkpoint was chosen by."""
    metas, chosen = read_metas(run.workdir / "checkpoints"), run.checkpoint
    best = metas[ranked(metas)[0]]
    other = f"step {chosen.step}, loss {chosen.validation_loss}; step {best.step} has {best.validation_loss}"
    validation = validation_batches(run.config, windows_of(run.config, run.workdir, "validation", run.beside))
    same = measure(validation, sections.train_config(run.config)) == chosen.measure
    check, changed = "the checkpoint was chosen on validation windows", _changed_since(run)
    by_validation = Finding(check, None if same else "its loss is that of other windows")
    if not same and changed:
        by_validation = Finding(check, unchecked=f"since training, other values were given: {', '.join(changed)}")
    is_best = Finding("the checkpoint is the one that validated best", None if chosen.step == best.step else other)
    return [is_best, by_validation]


def _check_source(run: Run, days: list[str]) -> list[Finding]:
    """Check that the run that this one started from, if any, was not trained on its days."""
    source = run.checkpoint.source
    if source is None:
        return []
    check, both = "the run that it started from has seen none of its days", sorted({*days} & {*source["days"]})
    listed = f"it has {', '.join(both)} as well: compare its splits, in {source['folder']}"
    return [Finding(check, unchecked=listed if both else None)]


def _changed_since(run: Run) -> list[str]:
    """Return the keys on which the windows of validations depend and that were others in training."""
    then, now = run.checkpoint.settings, sections.plain(run.config)
    keys = (("train", "validation_windows"), ("train", "mask_share"), ("train", "objective"))
    return [".".join(key) for key in keys if then.get(key[0], {}).get(key[1]) != now[key[0]][key[1]]]


def _check_bins(run: Run) -> Finding:
    """Fit the bins of the tokens again to the training days, if they have any."""
    check, kind = "the bins of the tokens are fitted on training days", type(run.tokenizer)
    if not kind.fitted:
        return Finding(check)
    if run.checkpoint.source is not None:
        return Finding(check, unchecked="they are those of the run that it started from")
    made_with = load_manifest(run.workdir / "records")["fingerprint"]["inputs"].get("feed")
    if not run.config.data.path and made_with != SYNTHETIC:
        return Finding(check, unchecked=f"no path to the days, of the {made_with} feed")
    try:
        feed, days = find_days(run.config)
        with tempfile.TemporaryDirectory() as store:
            how: dict[str, Any] = {"plan": record_plan(run.config), "reading": reading_of(run.config, run.workdir)}
            again = fit_tokenizer(cast(type[FittedTokenizer], kind), feed, days, store=pathlib.Path(store), **how)
    except InputError as error:
        return Finding(check, unchecked=f"the days cannot be read: {error.what}")
    same = again.vocabulary.hash == run.tokenizer.vocabulary.hash
    return Finding(check, None if same else "they are bins of other events")


def _check_fits(run: Run) -> Finding:
    """Fit again what the evaluation of the run fitted, and compare their digests."""
    path, folder = run.workdir / "evaluation.json", run.workdir / "records"
    stored = json.loads(path.read_text()).get("fitted", {}) if path.exists() else {}
    train, validation = open_records(folder, "train"), open_records(folder, "validation")
    given = Fitting(train, validation, tokenizer=run.tokenizer, ngram_orders=run.config.evaluate.ngram_orders)
    again = {name: digest_of_baseline(one, validation) for name, one in fit_baselines(given).items()}
    if "state_table" in stored:
        moves = [record_moves(train[index], run.tokenizer) for index in range(len(train))]
        again["state_table"] = digest_of_table(fit_state_table(moves))
    return check_fitted(stored, again)


def _check_normalisers(run: Run) -> Finding:
    """Fit the thresholds and normalisers of the run's forecaster again, if it has one."""
    check = "the forecaster's thresholds and normalisers are fitted on training"
    path = run.workdir / "forecast.safetensors"
    if not path.exists() or Ability.EVENTS in run.tokenizer.lacks:
        return Finding(check)
    _, about = load_weights(path)
    layout, train = sections.forecast_layout(run.config), open_records(run.workdir / "records", "train")
    again = fit_scaling(read_tape(train, run.tokenizer, levels=layout.levels), layout)
    same = all(_equal(about["scaling"][name], values) for name, values in again.plain().items())
    return Finding(check, None if same else "they are those of other events")


def _check_fills(run: Run) -> list[Finding]:
    """Count the fills of training orders again, if generated paths were compared with their frequencies."""
    generated = newest_generated(run.workdir)
    stored = (generated.get("resting_orders.json") or {}).get("training")
    if stored is None:
        return []
    check, train = "the frequencies of fills are those of training", open_records(run.workdir / "records", "train")
    instrument = record_instrument(open_records(run.workdir / "records", "test")[0])
    try:
        history = training_orders(run, train, instrument, following=generated["settings.json"]["events"])
    except InputError as error:
        return [Finding(check, unchecked=f"the days cannot be read: {error.what}")]
    same = digest_of_history(history) == stored["digest"]
    return [Finding(check, None if same else "they are those of other orders")]


def _equal(stored: list[Any], fitted: list[Any]) -> bool:
    if fitted and isinstance(fitted[0], str):
        return stored == fitted
    return np.shape(stored) == np.shape(fitted) and bool(np.allclose(stored, fitted))
