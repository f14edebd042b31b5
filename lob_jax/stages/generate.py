"""The stage `generate`: continue test events, write each path to files, and forecast from all paths."""

import pathlib
from collections.abc import Sequence

import ml_collections
import numpy as np
from rich.table import Table

from lob_jax.book.day import MarketDay
from lob_jax.config import sections
from lob_jax.console import COMPILING, bar, console, show
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.records import record_instrument
from lob_jax.evaluation.paths.validity import Validity
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.events.schema import Kind
from lob_jax.figures.day import save
from lob_jax.figures.fan import fan_figure
from lob_jax.generation import sharding
from lob_jax.generation.fan import LEAST_PATHS, Fan, fan
from lob_jax.generation.prompt import ANY_SIZES
from lob_jax.generation.user_orders import outcomes_to_json
from lob_jax.runs.generation import Paths, before_midnight, check_paths, configured_sampling
from lob_jax.runs.generation import generate as run_generation
from lob_jax.runs.workdir import overview, write_json
from lob_jax.stages.continuations import continue_prompts
from lob_jax.stages.model import trained_run
from lob_jax.stages.result_folder import check_name, partial_folder, take_name
from lob_jax.stages.validity_report import tell
from lob_jax.writers.hftbacktest import write_hftbacktest
from lob_jax.writers.lobster import write_lobster
from lob_jax.writers.parquet import write_parquet

FOLDER = "generated"  # in the run's folder
SHOWN = 20  # paths in the table
UNITS = {"mid": "price", "spread": "price", "volume": "lots", "volatility": "price"}


def generate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Continue the first test events, check every event, and write each path and a forecast from all paths.

    With several prompts, each is continued, and written beside what really followed; see `continue_prompts`. Each call
    writes a new folder under generated/ and changes no other.
    """
    name = config.generate.name or None
    check_name(name, workdir / FOLDER)
    run, wanted = trained_run(config, workdir), config.generate.events
    if config.generate.prompts > 1:
        return continue_prompts(run, config, workdir / FOLDER, name)
    texts = config.generate.orders
    sampling = configured_sampling(config, record_instrument(open_records(workdir / "records", "test")[0]))
    mesh = sharding.mesh_for(sampling.paths)
    devices = "1 device" if mesh is None else f"{mesh.size} devices"
    console.print(f"{sampling.paths:,} paths of {wanted:,} events on {devices}")
    with bar("generating", total=wanted, unit="events per path", first=COMPILING) as advance:
        paths = run_generation(run, sampling=sampling, on_progress=advance)
    checked, instrument = check_paths(paths), paths[0].instrument
    title = f"{instrument.symbol} {instrument.trading_day}"
    show(_table(paths, checked, title))
    tell(paths.drawn, checked)
    if sampling.limit_sizes and (paths.prompt.largest == ANY_SIZES).all():
        console.print("sizes are not limited: the records were prepared before their largest sizes were noted")
    if texts:
        show(_orders(texts, paths))
    forecast = fan(paths)
    with partial_folder(workdir / FOLDER) as partial:
        for number, day in enumerate(paths):
            _write_path(partial / f"path_{number}", day, config)
        write_json(partial / "forecast.json", forecast.to_json())
        save(fan_figure(forecast, title=title), partial / "forecast.png")
        if texts:
            write_json(partial / "orders.json", outcomes_to_json(texts, paths.drawn.orders, instrument))
        made = {"step": run.step, "validation_loss": run.validation_loss}
        write_json(partial / "settings.json", {**sections.plain(config)["generate"], **made})
        written = take_name(partial, name)
    show(_expected(forecast))
    if forecast.paths_H[-1] < LEAST_PATHS:
        console.print(f"no quantiles: a 5 % quantile needs {LEAST_PATHS} paths (--config.generate.paths={LEAST_PATHS})")
    console.print(f"written to {written}; {workdir} now contains:")
    show(overview(workdir))


def _table(paths: Paths, checked: list[Validity], title: str) -> Table:
    """Return a table of the first paths."""
    shown = Table(title=title)
    for heading in ("path", "tokens", "events", "invalid events", "time, s", "trades"):
        shown.add_column(heading, justify="right")
    if len(paths) > SHOWN:
        shown.caption = f"and {len(paths) - SHOWN:,} more"
    for number, (day, tokens, found) in enumerate(zip(paths, paths.drawn.tokens, checked, strict=True)):
        if number == SHOWN:
            break
        events = day.events
        seconds = (events.time_ns[-1] - day.start.time_ns) / NS_PER_SECOND if len(events) else 0.0
        trades = np.isin(events.kind, (Kind.EXECUTE, Kind.EXECUTE_HIDDEN)).sum()
        counts = (len(tokens), len(events), sum(found.faults.values()))
        shown.add_row(str(number), *(f"{count:,}" for count in counts), f"{seconds:,.3f}", f"{trades:,}")
    return shown


def _orders(texts: Sequence[str], paths: Paths) -> Table:
    """Return a table of the user's orders: on how many paths each was sent, and what became of it on average."""
    shown = Table(title=f"your orders, mean lots over {len(paths):,} paths", caption="every fill is in orders.json")
    shown.add_column("order")
    for heading in ("paths sent", "filled on arrival", "rested", "filled at rest", "left", "out of view", "dropped"):
        shown.add_column(heading, justify="right")
    for text, outcomes in zip(texts, zip(*paths.drawn.orders, strict=True), strict=True):
        rows = [
            (one.filled, one.rested, one.rested - one.left - one.unseen, one.left, one.unseen, one.dropped)
            for one in outcomes
        ]
        sent = sum(one.sent for one in outcomes)
        shown.add_row(text, f"{sent:,}", *(f"{mean:,.1f}" for mean in np.mean(rows, 0)))
    return shown


def _write_path(folder: pathlib.Path, day: MarketDay, config: ml_collections.ConfigDict) -> None:
    """Write the events of a path in the configured format; events after its day are left out."""
    events, day = len(day.events), before_midnight(day)
    if len(day.events) < events:
        console.print(f"{folder.name}: {events - len(day.events):,} events after midnight are not written")
    folder.mkdir(parents=True)
    if config.generate.format == "parquet":
        write_parquet(folder / "events", day)
    elif config.generate.format == "hftbacktest":
        write_hftbacktest(folder / "events.npz", day)
    elif len(day.events):
        write_lobster(folder, day, levels=config.data.book_levels, monotone_time=True)


def _expected(forecast: Fan) -> Table:
    """Return a table of the quantiles after the last event; of the mean and the range if there are too few paths."""
    paths = int(forecast.paths_H[-1])
    shown = Table(title=f"after {forecast.moment_H[-1]:,.0f} events, over {paths} paths")
    shown.add_column("", no_wrap=True)
    known = (
        [f"{quantile:.0%}" for quantile in forecast.quantile_Q]
        if paths >= LEAST_PATHS
        else ["lowest", "mean", "highest"]
    )
    for heading in known:
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, unit in UNITS.items():
        values = forecast.shown(name)[-1] if paths >= LEAST_PATHS else _range(forecast.paths_PH[name][:, -1])
        shown.add_row(f"{name}, {unit}", *(_figure(value) for value in values))
    return shown


def _range(values_P: np.ndarray) -> tuple[float, ...]:
    """Return minimum, mean and maximum of the finite values; NaN if there are none."""
    known = values_P[np.isfinite(values_P)]
    return (known.min(), known.mean(), known.max()) if len(known) else (np.nan,) * 3


def _figure(value: float) -> str:
    """Format a number in at most nine characters, so that a row of them fits on a terminal."""
    if not np.isfinite(value):
        return "-"
    if abs(value) >= 1e6:
        return f"{value:.4g}"
    return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
