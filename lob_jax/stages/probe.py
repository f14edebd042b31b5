"""The stages before a long run: find a learning rate, and check that the model can memorise a single batch."""

import dataclasses
import math
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np
from rich.table import Table

from lob_jax.config import sections
from lob_jax.console import COMPILING, Advance, bar, console, show
from lob_jax.errors import InputError
from lob_jax.figures.day import save
from lob_jax.figures.learning_rate import range_figure
from lob_jax.models.accounting import parameter_count
from lob_jax.runs.records import feed_name
from lob_jax.runs.training import open_training_data, refuse_what_cannot_fit
from lob_jax.runs.workdir import write_json
from lob_jax.stages.data import prepare
from lob_jax.training import probe
from lob_jax.training.config import TrainConfig
from lob_jax.training.run.data import TrainingData
from lob_jax.training.run.setup import Run, prepare_run

ROWS = 12  # of a table of steps
NOT_PASSED = 1  # the exit status


def _prepared(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, *, train: TrainConfig, steps: int
) -> tuple[Run, TrainingData]:
    """Prepare records if necessary; return a run of so many steps on them, not yet started, and its data."""
    refuse_what_cannot_fit(config)
    _refuse_source(config)
    prepare(config, workdir)
    model, data = sections.model_config(config), open_training_data(config, workdir)
    run = prepare_run(
        model,
        train,
        total_steps=steps,
        validation=data.validation,
        measured=data.measured,
        seed=config.seed,
        devices=jax.devices(),
        before=None,
        masks=data.masks,
        also=data.also,
    )
    console.print(f"{parameter_count(model):,} parameters, {train.windows_per_step} windows per step, {steps} steps")
    return run, data


def _refuse_source(config: ml_collections.ConfigDict) -> None:
    """Check that the run does not start from another one: these stages start from random parameters."""
    if config.train.init:
        raise InputError(
            "this mode starts from random parameters",
            where="config.train.init",
            expected="no run to start from",
            was=config.train.init,
            remedy="leave it out; to fine-tune, try about a tenth of the learning rate of the first training",
        )


def _telling(advance: Advance) -> Callable[[int, float], None]:
    """Return the function that advances a progress bar at each step."""
    return lambda step, loss: advance(step, f"loss {loss:.4f} nats per token")


def _rows(count: int) -> list[int]:
    """Return the steps that a table shows: the first, the last, and some in between."""
    return sorted(set(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int).tolist()))


def find_lr(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int | None:
    """Test a range of learning rates on real batches, and suggest one; return the exit status."""
    section, train = config.find_lr, sections.train_config(config)
    run, data = _prepared(config, workdir, train=train, steps=section.steps)
    rate = probe.rate_of_step(section.lowest, section.highest, section.steps)
    with bar("trying rates", total=section.steps, unit="steps", first=COMPILING) as advance:
        test = probe.range_test(
            probe.with_rising_rate(run, rate, seed=config.seed, measured=data.measured),
            probe.grouped(data.batches(data.start), train.accumulation),
            rate=rate,
            smoothing=section.smoothing,
            stop_factor=section.stop_factor,
            on_step=_telling(advance),
        )
    rates = probe.find_rates(test)
    _write_range(config, test, rates, workdir)
    show(_range_table(test))
    for line in _advice(test, rates, config):
        console.print(line)
    console.print(f"all steps: {workdir / 'find_lr.json'}")
    if len(test.losses) > 1:
        console.print(f"figure: {workdir / 'figures' / 'find_lr.png'}")
    return None if rates else NOT_PASSED


def _write_range(
    config: ml_collections.ConfigDict, test: probe.RangeTest, rates: probe.Rates | None, workdir: pathlib.Path
) -> None:
    """Write the numbers and the figure of a range test."""
    found = None if rates is None else dataclasses.asdict(rates)
    write_json(workdir / "find_lr.json", {"rates_found": found, **dataclasses.asdict(test)})
    if len(test.losses) < 2:
        return
    (workdir / "figures").mkdir(exist_ok=True)
    model = sections.model_config(config)
    title = f"Learning-rate range test: {parameter_count(model) / 1e6:.1f}M parameters, {feed_name(config)} feed"
    figure = range_figure(test, rates, configured=config.train.learning_rate, title=title)
    save(figure, workdir / "figures" / "find_lr.png")


def _range_table(test: probe.RangeTest) -> Table:
    table = Table(title="learning rate by step", caption=f"ended after {len(test.losses)} steps: {test.ended}")
    for heading in ("step", "learning rate", "loss, nats per token", "smoothed, nats per token"):
        table.add_column(heading, justify="right")
    for k in _rows(len(test.losses)) if test.losses else []:
        table.add_row(str(k), f"{test.rates[k]:.3g}", f"{test.losses[k]:.4f}", f"{test.smoothed[k]:.4f}")
    return table


def _advice(test: probe.RangeTest, rates: probe.Rates | None, config: ml_collections.ConfigDict) -> list[str]:
    """Return the lines that say what to set, and why."""
    if rates is None:
        return [
            "no rate can be suggested: the loss never fell",
            "if the loss was not finite or rose at once, lower config.find_lr.lowest; if it hardly changed, raise "
            "find_lr.highest or find_lr.steps; if neither helps, try --mode=overfit",
        ]
    lines = [
        f"lowest loss at {rates.lowest:.2g}, steepest descent at {rates.steepest:.2g} (Smith 2017), "
        f"currently configured {config.train.learning_rate:.2g}",
        "suggested, a tenth of the rate at the lowest loss (Howard and Gugger 2020): "
        f"--config.train.learning_rate={rates.suggested:.2g}",
        "a higher rate may learn faster or not at all; to search: --mode=sweep "
        f'--config.sweep.space="train.learning_rate=log({rates.suggested:.1e},{rates.lowest:.1e})"',
    ]
    if rates.lowest == test.rates[-1]:
        lines.append(
            "the loss was lowest at the last rate: raise config.find_lr.highest to find where it starts to rise"
        )
    return lines


def overfit(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int | None:
    """Train on the first batch alone, and report whether the model memorised it; return the exit status."""
    section, mine = config.overfit, config.copy_and_resolve_references()
    mine.model.dropout = section.dropout
    train = dataclasses.replace(
        sections.train_config(mine),
        accumulation=1,
        warmup_steps=min(config.train.warmup_steps, section.steps // 10),
    )
    run, data = _prepared(mine, workdir, train=train, steps=section.steps)
    batch = [next(iter(data.batches(data.start)))]
    with bar("memorising one batch", total=section.steps, unit="steps", first=COMPILING) as advance:
        result = probe.overfit_batch(run, batch, target=section.target, on_step=_telling(advance))
    by_frequency = probe.frequency_loss(batch)
    outcome = probe.outcome(result)
    judged = outcome in ("not finite", "not learned")
    why = probe.causes(result, target=section.target, by_frequency=by_frequency) if judged else []
    write_json(workdir / "overfit.json", _overfit_contents(result, section, by_frequency, why))
    show(_overfit_table(result))
    for line in _verdict(result, section, by_frequency, why):
        console.print(line)
    console.print(f"all steps: {workdir / 'overfit.json'}")
    return None if outcome == "passed" else NOT_PASSED


def _overfit_contents(
    result: probe.Overfitting, section: ml_collections.ConfigDict, by_frequency: float, why: list[str]
) -> dict[str, Any]:
    return {
        "passed": result.reached is not None,
        "outcome": probe.outcome(result),
        "target": section.target,
        "steps_to_target": result.reached,
        "dropout": section.dropout,
        "loss_by_own_frequencies": by_frequency,
        "losses": [loss if math.isfinite(loss) else None for loss in result.losses],
        "causes_to_look_at": why,
    }


def _overfit_table(result: probe.Overfitting) -> Table:
    table = Table(title="loss on one batch")
    for heading in ("updates", "loss, nats per token"):
        table.add_column(heading, justify="right")
    for k in _rows(len(result.losses)):
        table.add_row(str(k), f"{result.losses[k]:.4f}")
    return table


def _verdict(
    result: probe.Overfitting, section: ml_collections.ConfigDict, by_frequency: float, why: list[str]
) -> list[str]:
    compared = f"the batch's own token frequencies cost {by_frequency:.3f}"
    if result.reached is not None:
        return [f"PASSED: below {section.target:g} nats per token after {result.reached} updates; {compared}"]
    finite = [loss for loss in result.losses if math.isfinite(loss)]
    lowest = f"the lowest of {len(result.losses)} losses was {min(finite):.3f}" if finite else "no loss was finite"
    if probe.outcome(result) == "too few steps":
        return [
            f"TOO FEW STEPS to tell: {lowest}, and the loss was still falling or had hardly begun to; the target is "
            f"{section.target:g} nats per token; {compared}",
            f"try again with --config.overfit.steps={max(200, 4 * section.steps)}, or a higher learning rate",
        ]
    return [
        f"NOT PASSED: {lowest}, the target is {section.target:g} nats per token; {compared}",
        "check:",
        *(f"  * {cause}" for cause in why),
    ]
