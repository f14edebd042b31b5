"""Pictures for a report that need a run's model, its records or its generated paths."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import read_record, record_instrument
from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.folders import PARTS, read_folder
from lob_jax.figures.day import depth_figure, trades_figure
from lob_jax.figures.fan import fan_figure, moves_figure
from lob_jax.figures.ladder import ladder_of, save_ladder
from lob_jax.figures.vocabulary import vocabulary_map
from lob_jax.generation.fan import Fan, fan
from lob_jax.models.apply import apply
from lob_jax.models.transformer import LOBTransformer
from lob_jax.report.material import GENERATED
from lob_jax.report.section import GIF, Picture, picture
from lob_jax.runs.attention import visualize_attention
from lob_jax.runs.load import Run
from lob_jax.statistics.flow import Flow
from lob_jax.statistics.flow_series import mid
from lob_jax.tokens.tokenizer import Ability
from lob_jax.tokens.vocabulary import CLASS_SIZE, CLASSES
from lob_jax.writers.lobster import PRICE_SCALE

LEVELS = 10  # occupied levels per side in figures
REAL_PART, GENERATED_PART, _ = PARTS
FRAMES = 40  # events of an animation
Pictures = tuple[dict[str, Picture], dict[str, str]]


@dataclasses.dataclass(frozen=True, eq=False)
class Wanted:
    """A picture that can be made: its name, what it shows, and the function that makes it (one or several)."""

    name: str
    shows: str
    make: Callable[[], list[Picture]]


def pictures_of(
    run: Run, generated: dict[str, Any], *, on_progress: Callable[[int, int, str], None] | None = None
) -> Pictures:
    """Return the pictures of a run by name, and why others could not be made.

    Args:
      run: a trained run.
      generated: its newest generated result, see `report.material.newest_generated`.
      on_progress: called with the number of pictures made, the number of all, and the next one.
    """
    wanted = list(_wanted(run, generated))
    made, missing = {}, {}
    for done, one in enumerate(wanted):
        if on_progress:
            on_progress(done, len(wanted), one.shows)
        try:
            made |= {shown.name: shown for shown in one.make()}
        except InputError as error:
            missing[one.name] = f"{one.shows}: {_reason(error)}"
    if on_progress:
        on_progress(len(wanted), len(wanted), "")
    return made, missing


def _reason(error: InputError) -> str:
    return str(error).splitlines()[0]


def _wanted(run: Run, generated: dict[str, Any]) -> Iterator[Wanted]:
    yield Wanted("attention", "attention weights", lambda: _attention(run))
    yield Wanted("vocabulary", "a map of the token embeddings", lambda: [_vocabulary(run)])
    yield Wanted("depth", "depth and trades of the first test events", lambda: _day(run))
    yield Wanted(
        "ladder_real", "an animation of a real book", lambda: [_ladder(first_test_day(run), "ladder_real", "real")]
    )
    if "forecast.json" in generated:
        yield Wanted("fan", "a fan chart of the generated paths", lambda: [_fan(run, generated)])
    if generated and (run.workdir / GENERATED / generated["name"] / REAL_PART).is_dir():
        yield Wanted("moves", "moves of the mid, real and generated", lambda: [_moves(run, generated)])


def first_test_day(run: Run) -> MarketDay:
    """Return the first record of a run's test split as a day.

    Raises:
      InputError: the tokens do not give the same events back.
    """
    if Ability.EVENTS in run.tokenizer.lacks:
        raise InputError(
            f"{run.tokenizer.name} tokens do not give the same events back",
            where="the records",
            expected="lossless tokens",
            was=run.tokenizer.name,
            remedy="draw the day with --mode=inspect",
        )
    return read_record(open_records(run.workdir / "records", "test")[0], run.tokenizer)


def _attention(run: Run) -> list[Picture]:
    view = visualize_attention(run)
    layer, head = np.unravel_index(np.argmax(sharpness(view.weight_LNTT)), view.weight_LNTT.shape[:2])
    about = f"{len(view.event_labels)} test events, {len(view.tokens_T)} tokens"
    return [
        picture(
            view.figure,
            name="attention",
            alt=f"Heat maps of attention weights, one per layer and head, over {about}",
            caption=f"Attention of every layer (row) and head (column) over {about}. The scale is a square root.",
            vector=False,
        ),
        picture(
            view.of_head(int(layer), int(head)),
            name="attention_head",
            alt=f"Heat map of the attention weights of layer {layer + 1}, head {head + 1}, with a label per token",
            caption=f"The head with the most concentrated weights: layer {layer + 1}, head {head + 1}, token by token.",
            vector=False,
        ),
    ]


def sharpness(weight_LNTT: np.ndarray) -> np.ndarray:
    """Return the mean over query tokens of the sum of squared weights, [L, N]: 1 if each attends to one token."""
    return np.square(weight_LNTT).sum(-1).mean(-1)


def _vocabulary(run: Run) -> Picture:
    table_VD = apply(LOBTransformer(run.model), {"params": run.params}, method="token_table")
    vector_VD = np.asarray(table_VD, np.float64)
    count_V = np.asarray(load_manifest(run.workdir / "records")["token_counts"]["train"])
    class_V = np.arange(len(count_V)) // CLASS_SIZE
    names = [name.replace("_", " ").lower() if name.isupper() else name for name in CLASSES]
    figure = vocabulary_map(vector_VD, class_V=class_V, count_V=count_V, names=names, title="Token embeddings")
    return picture(
        figure,
        name="vocabulary",
        alt="Scatter plot of token embeddings on two principal components, coloured by class of token",
        caption="Embeddings of the tokens that occur, on their first two principal components; larger: more frequent.",
        vector=False,
    )


def _day(run: Run) -> list[Picture]:
    day = first_test_day(run)
    count = f"{len(day.events):,} events"
    return [
        picture(
            depth_figure(day, levels=LEVELS),
            name="depth",
            alt="Heat map of resting quantity by price and time, with the best quotes",
            caption=f"Depth of the book over the first {count} of the test split.",
            vector=False,
        ),
        picture(
            trades_figure(day),
            name="trades",
            alt="Best quotes and trades over time, traded quantity by aggressor, and the spread",
            caption=f"Quotes and trades of the same {count}.",
            vector=False,
        ),
    ]


def _ladder(day: MarketDay, name: str, what: str) -> Picture:
    ladder = ladder_of(day, levels=LEVELS, frames=FRAMES)
    title = f"{what} book, {day.instrument.symbol}, {len(ladder.captions)} events"
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "ladder.gif"
        save_ladder(ladder, path, title=title)
        data = path.read_bytes()
    return Picture(
        name,
        data,
        GIF,
        f"Animated ladder of a {what} order book over {len(ladder.captions)} events",
        f"The {what} book, event by event: resting quantity by price. In print, the state after the first event.",
    )


def _fan(run: Run, generated: dict[str, Any]) -> Picture:
    forecast = Fan.from_json(generated["forecast.json"])
    real = None
    with contextlib.suppress(InputError):
        real = _real_fan(run, generated.get("settings.json", {}), forecast)
    title = f"Generated paths of {generated['name']}"
    return picture(
        fan_figure(forecast, title=title, real=real),
        name="fan",
        alt="Fan charts of mid price, spread, traded volume and volatility of the generated paths",
        caption="The generated paths" + (", and what really followed the prompt (black)." if real else "."),
    )


def _moves(run: Run, generated: dict[str, Any]) -> Picture:
    folder = run.workdir / GENERATED / generated["name"]
    parts = [read_folder(folder, part, events=1).flow for part in (REAL_PART, GENERATED_PART)]
    length = int(min(np.diff(flow.edges).min() for flow in parts))
    tick = run_tick(run)
    real_SH, generated_SH = (moves_along(flow, length) / tick for flow in parts)
    title = f"Moves of the mid since the first message: generated/{generated['name']}"
    return picture(
        moves_figure(real_SH, generated_SH, horizons=np.arange(length), title=title),
        name="moves",
        alt="Quantile bands of the move of the mid price by message, real and generated side by side",
        caption="How far the mid moves after a prompt: quantiles over real and over generated sequences, on one scale.",
    )


def moves_along(flow: Flow, length: int) -> np.ndarray:
    """Return how far the mid has moved since the first message of each sequence, price quanta, float64 [S, length]."""
    middle = mid(flow)
    rows = flow.edges[:-1, None] + np.arange(length)
    return middle[rows] - middle[rows[:, :1]]


def run_tick(run: Run) -> int:
    """Return the tick of a run's test split in LOBSTER's price quanta, in which generated folders are written."""
    instrument = record_instrument(open_records(run.workdir / "records", "test")[0])
    return max(1, instrument.tick * PRICE_SCALE // instrument.price_scale)


def _real_fan(run: Run, settings: dict[str, Any], forecast: Fan) -> Fan | None:
    """Return the measures of the real events after the prompt that the newest result continued; None if unknown."""
    first, day = settings.get("prompt_events"), first_test_day(run)
    if first is None or forecast.by != "events" or first + forecast.moment_H[-1] > len(day.events):
        return None
    last = first + int(forecast.moment_H[-1])
    start = next(iter(snapshots_at(day, np.array([first]))))
    return fan([day.part(first, last, start=start)], until=float(forecast.moment_H[-1]))
