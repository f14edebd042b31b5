"""The stages of a model: train, evaluate, audit and prune."""

import contextlib
import dataclasses
import math
import pathlib
import shlex

import jax
import ml_collections
from jax.experimental import multihost_utils
from rich.console import Console
from rich.table import Table

from lob_jax.config import sections
from lob_jax.console import console, show, waiting
from lob_jax.errors import flat
from lob_jax.evaluation.leakage import Finding, findings_table, told
from lob_jax.evaluation.likelihood.hidden import hidden_table
from lob_jax.evaluation.table import head_tables, robustness_table
from lob_jax.evaluation.table import table as evaluation_table
from lob_jax.figures.day import save
from lob_jax.figures.reliability import reliability_figure
from lob_jax.models.accounting import parameter_count
from lob_jax.report.event_bits import write_event_bits
from lob_jax.runs.leakage import audit as run_audit
from lob_jax.runs.load import Run, open_run, require_trained
from lob_jax.runs.own_flow import has_own_flow
from lob_jax.runs.pruning import Pruned, check_folder
from lob_jax.runs.pruning import prune as run_pruning
from lob_jax.runs.scoring import evaluate as run_evaluation
from lob_jax.runs.source import check_source
from lob_jax.runs.training import fit, open_training_data, refuse_what_cannot_fit
from lob_jax.runs.workdir import write_json
from lob_jax.signals import program, same_command
from lob_jax.stages.data import check_records, prepare
from lob_jax.training.run.identity import model_identity
from lob_jax.training.run.interruption import saved_line, status_of
from lob_jax.training.run.loop import TrainingSummary
from lob_jax.training.run.resumption import taken_as_neutral
from lob_jax.training.step.sparsity import zeros_of
from lob_jax.training.step.state import abstract_params
from lob_jax.training.step.tuning import make_tuning, trained_count

EVALUATION = "10 s to 10 min, depending on the test split and the model"
PRUNING = "10 s to 10 min, depending on the model"
OWN_FLOW = "1 to 30 min, depending on its number of events and the model"
AUDIT = "10 s to 10 min, depending on the records"
ZEROS = 0.001  # share of zeros from which they are reported
LEAK_FOUND = 1  # exit status of an audit


def train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int | None:
    """Prepare if necessary, train or resume training, and test the best checkpoint; return the exit status.

    The status is that of `status_of` if the run was interrupted and saved. With several processes, the first one
    prepares while the others wait, and none of them tests.
    """
    refuse_what_cannot_fit(config)
    check_source(config, workdir)
    first = jax.process_index() == 0
    if first:
        prepare(config, workdir)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("the records are prepared")
    with _drawing_own_flow(config, workdir):
        data = open_training_data(config, workdir)
    shown = console if first else Console(quiet=True)
    shown.print(f"{data.windows:,} training windows, {_parameters(config)}; losses are in nats per token")
    summary = fit(config, workdir, data, console=shown)
    shown.print(_ending(summary))
    if summary.interrupted is not None:
        return status_of(summary.interrupted)
    if jax.process_count() > 1:  # testing is the work of one process, and the others would wait for it in a collective
        shown.print("to test it, run the same command with --mode=evaluate in one process")
        return None
    evaluate(config, workdir)
    return None


def _drawing_own_flow(
    config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> contextlib.AbstractContextManager[None]:
    """Return a context that shows that the flow of the run's own is drawn, if it is."""
    if not config.data.augment.own_flow or has_own_flow(workdir):
        return contextlib.nullcontext()
    return waiting("drawing flow of the model at train.init", usually=OWN_FLOW)


def _parameters(config: ml_collections.ConfigDict) -> str:
    """Return the number of parameters, and that of the numbers that are trained if it is another one."""
    model = sections.model_config(config)
    params = abstract_params(model)
    tuning = make_tuning(sections.train_config(config), params)
    parameters, trained = parameter_count(model), trained_count(tuning, params)
    return f"{parameters:,} parameters" + (f", {trained:,} numbers trained" if trained != parameters else "")


def _ending(summary: TrainingSummary) -> str:
    if summary.interrupted is not None:
        return f"{saved_line(summary.steps, summary.interrupted)}: {same_command()}"
    how = "stopped early" if summary.stopped_early else "done"
    if summary.best_validation_loss is None:
        return f"{how} after {summary.steps:,} steps; no validation loss was finite"
    best = f"{summary.best_validation_loss:.4f} nats per token at step {summary.best_step:,}"
    return f"{how} after {summary.steps:,} steps; best validation loss {best}"


def trained_run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Run:
    """Return a run with its best checkpoint, and report which it is; refuse records of other data than configured."""
    require_trained(workdir)
    check_records(config, workdir)
    run = open_run(config, workdir)
    for remark in taken_as_neutral(run.checkpoint, flat({"model": model_identity(run.model)})):
        console.print(remark)
    zeros = zeros_of(run.params)
    if zeros.share > ZEROS:
        console.print(zeros.told())
    averaged = ", averaged parameters" if run.checkpoint.averaged else ""
    console.print(f"checkpoint of step {run.step:,}, validation loss {run.validation_loss:.4f}{averaged}")
    return run


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Test the best checkpoint next to the baselines; write evaluation.json and a figure of its calibration."""
    run = trained_run(config, workdir)
    hidden = not run.model.causal
    doing = "testing the model on masked tokens" if hidden else "testing the model and fitting the baselines"
    with waiting(doing, usually=EVALUATION):
        result = run_evaluation(run, on_nats=lambda nats: write_event_bits(workdir, nats / math.log(2)))
    write_json(workdir / "evaluation.json", result)
    for shown in [hidden_table(result)] if hidden else [evaluation_table(result), *head_tables(result)]:
        show(shown)
    if "robustness" in result:
        show(robustness_table(result["robustness"]))
    console.print(told([Finding(**finding) for finding in result["audit"]]))
    if "calibration" in result:
        path = workdir / "figures" / "reliability.png"
        path.parent.mkdir(exist_ok=True)
        title = f"{result['split']} split: the likeliest token, by field"
        save(reliability_figure(result["calibration"]["model"], title=title), path)
        console.print(f"calibration: {path}")
    console.print(f"written to {workdir / 'evaluation.json'}")


def audit(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int | None:
    """Check that no test event has shaped the run, write audit.json; return the exit status, 1 if one has."""
    run = trained_run(config, workdir)
    with waiting("reading every record and fitting everything again", usually=AUDIT):
        findings = run_audit(run, full=True)
    path = workdir / "audit.json"
    write_json(path, {"step": run.step, "findings": [dataclasses.asdict(finding) for finding in findings]})
    show(findings_table(findings))
    console.print(told(findings))
    console.print(f"written to {path}")
    return LEAK_FOUND if any(finding.leak is not None for finding in findings) else None


def prune(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Cut heads and columns out of the best model, and write what is left as a new run to `config.prune.into`."""
    settings = sections.prune_config(config)
    into = check_folder(settings.into)  # before the checkpoint is read
    run = trained_run(config, workdir)
    with waiting("measuring importance on training windows", usually=PRUNING):
        pruned = run_pruning(run, settings)
    show(pruned_table(pruned))
    further = shlex.join([*program(), "--mode=train", f"--workdir={into}"])
    console.print(f"written to {into}; to train it further: {further}")


def pruned_table(pruned: Pruned) -> Table:
    """Return a table of a model before and after pruning."""
    shown = Table("", "before", "after", "share")
    rows = {
        "heads per block": "heads",
        "feed-forward columns per block": "columns",
        "parameters": "parameters",
        "training, flops per token": "flops_per_token",
    }
    for title, name in rows.items():
        before, after = getattr(pruned.before, name), getattr(pruned.after, name)
        shown.add_row(title, f"{before:,}", f"{after:,}", f"{after / before:.1%}")
    before, after = pruned.before.bits_per_token, pruned.after.bits_per_token
    shown.add_row("validation, bits per token", f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    return shown
