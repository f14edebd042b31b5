"""The stage `generate` with several prompts: continue test events in many places, and compare with what followed."""

import pathlib
from typing import Any

import ml_collections
import numpy as np
from rich.table import Table

from lob_jax.config import sections
from lob_jax.console import COMPILING, bar, console, show
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import record_instrument
from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.assess import assess
from lob_jax.evaluation.fidelity.folders import write_folders
from lob_jax.evaluation.paths.resting.table import order_tables
from lob_jax.evaluation.paths.table import forecast_table, heads_table
from lob_jax.evaluation.paths.validity import Validity
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.generation import sharding
from lob_jax.runs.continuations.forecasts import FEWEST_PATHS, FEWEST_PROMPTS, forecast_moves
from lob_jax.runs.continuations.generate import (
    Continuations,
    Flows,
    check_continuations,
    flows_of,
    generate_many,
    training_flow,
)
from lob_jax.runs.continuations.orders import forecast_orders
from lob_jax.runs.continuations.outlooks import compare_with_heads
from lob_jax.runs.load import Run
from lob_jax.runs.workdir import overview, write_json
from lob_jax.stages.result_folder import partial_folder, take_name
from lob_jax.stages.score import COMPARISONS, tables
from lob_jax.stages.validity_report import tell
from lob_jax.writers.lobster import price_factor

SHOWN = 12  # prompts in the table
MODEL = "model"  # the name of the generated flow in fidelity.json


def continue_prompts(run: Run, config: ml_collections.ConfigDict, folder: pathlib.Path, name: str | None) -> None:
    """Continue prompts spread over the test split, and write them in LOB-Bench's folder layout.

    Args:
      run: the trained run.
      config: the configuration, with more than one prompt.
      folder: the folder of results.
      name: the name of the new one; None for the next number.
    """
    sampling, prompts = sections.sampling_config(config), config.generate.prompts
    instrument = record_instrument(open_records(run.workdir / "records", "test")[0])
    price_factor(instrument)  # before anything is generated that LOBSTER's files cannot hold
    total = prompts * sampling.paths
    mesh = sharding.mesh_for(total)
    devices = "1 device" if mesh is None else f"{mesh.size} devices"
    console.print(
        f"{prompts:,} prompts, {sampling.paths:,} paths of {sampling.events:,} events from each, on {devices}"
    )
    with bar("generating", total=sampling.events, unit="events per path", first=COMPILING) as advance:
        paths = generate_many(run, sampling=sampling, prompts=prompts, on_progress=advance)
    checked = check_continuations(paths)
    show(_table(paths, checked))
    tell(paths.drawn, checked)
    flows = flows_of(paths, levels=config.data.book_levels)
    if flows.left_out:
        console.print(f"{flows.left_out:,} generated events after midnight are not written")
    with partial_folder(folder) as partial:
        write_folders(partial, flows.real, generated=flows.generated, cond=flows.cond)
        made = {"step": run.step, "validation_loss": run.validation_loss}
        write_json(partial / "settings.json", {**sections.plain(config)["generate"], **made})
        _score(run, config, paths, flows, partial)
        written = take_name(partial, name)
    console.print(f"written to {written}; {run.workdir} now contains:")
    show(overview(run.workdir))


def _score(
    run: Run, config: ml_collections.ConfigDict, paths: Continuations, flows: Flows, folder: pathlib.Path
) -> None:
    """Compare the first path of each prompt with real flow, score all paths as forecasts, and write both."""
    first = flows.generated.select(np.arange(len(flows.real)) * len(paths.days[0]))
    with bar("comparing", total=None, unit="steps") as advance:
        fidelity = assess(
            flows.real,
            {MODEL: first},
            training=training_flow(run, paths, levels=config.data.book_levels),
            **{key: config.score[key] for key in COMPARISONS},
            on_progress=lambda what, done, total: advance(done, what, total=total),
        )
    write_json(folder / "fidelity.json", fidelity)
    for table in tables(fidelity):
        show(table)
    if len(flows.real) < FEWEST_PROMPTS or len(paths.days[0]) < FEWEST_PATHS:
        console.print(
            f"no forecasts: they need {FEWEST_PROMPTS} prompts (--config.generate.prompts=) "
            f"and {FEWEST_PATHS} paths of each (--config.generate.paths=)"
        )
        return
    seed = config.score.seed
    forecasts = forecast_moves(paths, open_records(run.workdir / "records", "train"), seed=seed)
    outlooks = compare_with_heads(run, paths, seed=seed)
    write_json(folder / "forecasts.json", {**forecasts, "heads": outlooks})
    for table in (*map(forecast_table, filter(None, forecasts.values())), *map(heads_table, filter(None, [outlooks]))):
        show(table)
    write_json(folder / "orders.json", _scored_orders(run, paths, seed=seed))


def _scored_orders(run: Run, paths: Continuations, *, seed: int) -> dict[str, Any]:
    """Return the scores of what becomes of resting orders, and show them; or the reason why there are none."""
    try:
        scored = forecast_orders(run, paths, seed=seed)
    except InputError as error:
        console.print(f"the fate of resting orders is not scored: {error.what}")
        return {"unavailable": error.what}
    for table in order_tables(scored):
        show(table)
    return scored


def _table(paths: Continuations, checked: list[Validity]) -> Table:
    """Return a table of the first prompts."""
    shown = Table(title=f"{paths.instrument.symbol} {paths.instrument.trading_day}")
    for heading in ("prompt", "ends at", "events", "paths", "invalid events", "time, s", "real time, s"):
        shown.add_column(heading, justify="right")
    if len(paths.real) > SHOWN:
        shown.caption = f"and {len(paths.real) - SHOWN:,} more"
    faults = iter(checked)
    for number, (one, days) in enumerate(zip(paths.real, paths.days, strict=True)):
        invalid = sum(sum(next(faults).faults.values()) for _ in days)
        if number < SHOWN:
            seconds = [(day.events.time_ns[-1] - day.start.time_ns) / NS_PER_SECOND for day in days]
            real = (one.day.events.time_ns[-1] - one.prompt.clock_ns) / NS_PER_SECOND
            counts = (f"{one.events:,}", f"{len(days):,}", f"{invalid:,}")
            times = (f"{sum(seconds) / len(seconds):,.3f}", f"{real:,.3f}")
            shown.add_row(str(number), _clock(one.prompt.clock_ns - paths.instrument.midnight_ns()), *counts, *times)
    return shown


def _clock(since_midnight_ns: int) -> str:
    """Return a time of day, such as 13:05:00."""
    minutes, seconds = divmod(since_midnight_ns // NS_PER_SECOND, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
