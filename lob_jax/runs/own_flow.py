"""The flow of a run's own: before its first step, the model that it starts from continues the market at many places."""

import dataclasses
import hashlib
import itertools
import json
import math
import os
import pathlib
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from lob_jax.book.day import MarketDay
from lob_jax.book.replay import snapshots_at
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import (
    Record,
    RecordSource,
    day_record,
    evenly_spaced,
    read_record,
    record_instrument,
)
from lob_jax.data.windows.augment.own_flow import Continuation
from lob_jax.data.windows.dataset import Span, TokenBookDataset, prepare_record
from lob_jax.data.windows.known import flow_of
from lob_jax.errors import InputError
from lob_jax.events.halts import closed_before, halts_of
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import ANONYMOUS_ID, COLUMNS, Events
from lob_jax.generation.loop import generate
from lob_jax.generation.paths import path_day
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.reveals import behind_view
from lob_jax.generation.settings import SamplingConfig
from lob_jax.runs.generation import check_generates
from lob_jax.runs.load import Run, load_run
from lob_jax.runs.prompt import prompt_of
from lob_jax.runs.reveals import largest_in_training, reveals_of
from lob_jax.runs.source import check_source
from lob_jax.settings import expanded
from lob_jax.tokens.vocabulary import event_index
from lob_jax.training.run.checkpoint import steps_in
from lob_jax.training.run.weights import sha256_of

FILE = "own_flow.npz"
ROWS = 64  # paths that are generated together
_ABOUT, _PLACES = "about", ("window", "at", "count")


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """A place at which the market is continued: a training window, and an event of its record."""

    window: int
    record: int
    at: int


def own_flow_of(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, windows: TokenBookDataset
) -> tuple[Continuation, ...]:
    """Return how the model at train.init continues the market in some training windows.

    It is drawn once, and kept in own_flow.npz in the run's folder. Before there are checkpoints, it is drawn anew if
    the model, the data or the settings have changed. Afterwards the file is read as it is: its digest is part of what
    identifies the run.

    Args:
      config: the run's configuration, with train.init.
      workdir: its folder, with records.
      windows: the training windows.

    Raises:
      InputError: the run cannot start from that model, the model cannot generate, or no window has enough before it.
    """
    path = workdir / FILE
    if path.exists() and steps_in(workdir / "checkpoints"):
        return _read(path)[1]
    _require_one_process()
    check_source(config, workdir)
    run = load_run(expanded(config.train.init, where="config.train.init"))
    about = _about(config, workdir, windows, run)
    if path.exists():
        kept, found = _read(path)
        if kept == about:
            return found
    found = tuple(continued(run, windows, folder=workdir / "records", **_how(config, windows)))
    _write(path, about, found)
    return found


def has_own_flow(workdir: pathlib.Path) -> bool:
    """Return whether a run has drawn its flow."""
    return (workdir / FILE).exists()


def own_flow_digest(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, str]:
    """Return the SHA-256 of the flow that a run has drawn, under "own_flow"; nothing if it has none."""
    if not config.data.augment.own_flow:
        return {}
    digest = hashlib.sha256()
    for name, array in _arrays(_read(workdir / FILE)[1]).items():
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return {"own_flow": digest.hexdigest()}


def continued(
    run: Run, windows: TokenBookDataset, *, folder: pathlib.Path, prompts: int, events: int, seed: int
) -> Iterator[Continuation]:
    """Yield how a model continues the market in training windows that are spread evenly, each in its first half.

    It reads the real events before, of half its context, and draws from its own distribution.

    Args:
      run: the run of the model.
      windows: the training windows.
      folder: the records that they are cut from, whose sizes and levels limit what is drawn.
      prompts: number of places; several are in one window if there are fewer windows.
      events: events that are drawn at each.
      seed: seed of the places and of the paths.

    Raises:
      InputError: the model cannot generate, or no window has events enough before it in its record.
    """
    check_generates(run)
    source, chosen = windows.source, places_in(windows, prompts, history=run.model.max_seq_length // 2, seed=seed)
    sampling = SamplingConfig(paths=1, events=events, seed=seed)
    by_day = {
        day: list(group)
        for day, group in itertools.groupby(enumerate(chosen), lambda one: source[one[1].record]["instrument"])
    }
    rows = min(ROWS, max(map(len, by_day.values())))  # the same for all, so that the loop is compiled once
    for group in by_day.values():
        instrument = record_instrument(source[group[0][1].record])
        for some in (group[first : first + rows] for first in range(0, len(group), rows)):
            numbered = [(number, place, *_prompt(run, source, place, folder, number)) for number, place in some]
            prompts_of = [prompt for *_, prompt in numbered]
            spare = rows - len(some)
            prompts_of += [dataclasses.replace(prompts_of[0], number=prompts + k) for k in range(spare)]
            paths = _paths(run, prompts_of, instrument, sampling)
            for (_, place, day, prompt), path in zip(numbered, paths, strict=False):
                yield Continuation(place.window, place.at, _own(path, day, prompt))


def places_in(windows: TokenBookDataset, count: int, *, history: int, seed: int) -> list[Place]:
    """Return places in training windows that are spread evenly, in order: an event of the first half of each.

    Args:
      windows: the training windows.
      count: how many.
      history: tokens that the record has before each window.
      seed: seed of the events that are chosen.

    Raises:
      InputError: no window has so many tokens before it.
    """
    able = [index for index, span in enumerate(windows.spans) if span.start >= history]
    if not able:
        raise InputError(
            "there is no place at which the model can continue the market",
            where="config.data.augment.own_prompts",
            expected=f"training windows with {history:,} tokens before them in their record",
            was=f"none of {len(windows.spans):,}",
            remedy="prepare longer records, by --config.data.record_events, or start from a model of a shorter context",
        )
    random = np.random.default_rng(seed)
    found = []
    for index in evenly_spaced(len(able), count):
        span = windows.spans[able[index]]
        first, last = _first_half(windows.source[span.record], span, windows.own_context)
        found.append(Place(able[index], span.record, int(random.integers(first, last + 1))))
    return found


def _first_half(record: Record, span: Span, context: int) -> tuple[int, int]:
    """Return the first whole event of a window, and the one that the middle of its tokens belongs to."""
    event = event_index(record["tokens"][:-1])
    first, middle = int(event[span.start]) + 1, int(event[min(span.start + context // 2, len(event) - 1)])
    return first, max(first, middle)


def _prompt(
    run: Run, source: RecordSource, place: Place, folder: pathlib.Path, number: int
) -> tuple[MarketDay, Prompt]:
    """Return a decoded record, and as many of its tokens before a place as are half a context, as a prompt."""
    record, tokenizer, beside = source[place.record], run.tokenizer, run.beside
    day, closed = read_record(record, tokenizer), int(record["closed"])
    known: dict[str, Any] = {"book_levels": run.config.data.book_levels, "closed": closed}
    read = day_record(day, 0, place.at, tokenizer, **known, flow=flow_of(record, beside, 0))
    prepared = prepare_record(read, time_buckets=run.model.time_buckets, beside=beside)
    (book,) = snapshots_at(day, np.array([place.at]))
    now_closed = closed_before(halts_of(day.events.kind, day.events.code), place.at, closed=closed)
    behind = behind_view(day, place.at)
    prompt = prompt_of(prepared, read, slice(0, place.at), book, now_closed, behind=behind, beside=beside)
    shown = slice(-(run.model.max_seq_length // 2), None)
    symbol = day.instrument.symbol
    return day, dataclasses.replace(
        prompt,
        tokens_T=prompt.tokens_T[shown],
        known_T={name: array[shown] for name, array in prompt.known_T.items()},
        number=number,
        reveals=reveals_of(prompt, folder, tokenizer, symbol=symbol),
        largest=largest_in_training(folder, symbol),
    )


def _paths(
    run: Run, prompts: Sequence[Prompt], instrument: Instrument, sampling: SamplingConfig
) -> Iterator[MarketDay]:
    """Yield the path of each prompt."""
    how: dict[str, Any] = {"tokenizer": run.tokenizer, "instrument": instrument}
    drawn = generate(run.params, prompts, model=run.model, sampling=sampling, **how)
    for prompt, tokens, corrections in zip(prompts, drawn.tokens, drawn.corrections, strict=True):
        yield path_day(tokens, corrections, start=prompt.start, **how)


def _own(path: MarketDay, day: MarketDay, prompt: Prompt) -> Events:
    """Return the events of a path as those of a continuation, with ids for what they add that the day does not have."""
    ids, resting = path.events.order_id.copy(), path.start.order_id
    new = ~np.isin(ids, np.append(resting, np.array([0, ANONYMOUS_ID], np.uint64)))
    ids[new] += max(_largest(day.events.order_id), _largest(resting)) - _largest(resting)
    return path.events.replace(time_ns=path.events.time_ns - prompt.clock_ns, order_id=ids)


def _largest(ids: np.ndarray) -> np.uint64:
    """Return the largest id that new ones are counted from, see `BookSnapshot.new_ids`."""
    return ids[ids < 2**62].max(initial=np.uint64(0))


def _how(config: ml_collections.ConfigDict, windows: TokenBookDataset) -> dict[str, int]:
    augment, prompts = config.data.augment, config.data.augment.own_prompts
    if prompts is None:
        prompts = math.ceil(augment.own_flow * len(windows.spans))
    return {"prompts": prompts, "events": augment.own_events, "seed": config.seed}


def _about(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, windows: TokenBookDataset, run: Run
) -> dict[str, Any]:
    """Return what determines the flow of a run, as plain JSON."""
    spans = [dataclasses.astuple(span) for span in windows.spans]
    return {
        "parameters": sha256_of(run.params),
        "records": load_manifest(workdir / "records")["fingerprint"],
        "windows": hashlib.sha256(json.dumps(spans).encode()).hexdigest(),
        **_how(config, windows),
    }


def _arrays(continuations: Sequence[Continuation]) -> dict[str, np.ndarray]:
    """Return continuations as arrays: their places and numbers of events, and all events."""
    rows = [(one.window, one.at, len(one.events)) for one in continuations]
    places = np.array(rows, np.int64).reshape(-1, len(_PLACES)).T
    events = Events.concatenate([one.events for one in continuations])
    return {**dict(zip(_PLACES, places, strict=True)), **{name: getattr(events, name) for name in COLUMNS}}


def _write(path: pathlib.Path, about: dict[str, Any], continuations: Sequence[Continuation]) -> None:
    """Write continuations and what determines them, atomically."""
    partial = path.with_name(f"{path.name}.partial")
    arrays: dict[str, Any] = {_ABOUT: np.array(json.dumps(about)), **_arrays(continuations)}
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(partial, path)


def _read(path: pathlib.Path) -> tuple[dict[str, Any], tuple[Continuation, ...]]:
    """Return what determines the continuations in a file, and these.

    Raises:
      InputError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:
            about, arrays = json.loads(str(stored[_ABOUT])), {name: stored[name] for name in (*_PLACES, *COLUMNS)}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            "the flow of the run's own cannot be read",
            where=path,
            expected="the file that lob_jax wrote before the run's first step",
            was=f"{type(error).__name__}: {error}",
            remedy="restore a copy of it, or move it away: the model at config.train.init then draws it again",
        ) from error
    events = Events(**{name: arrays[name] for name in COLUMNS})
    ends = np.cumsum(arrays["count"]).tolist()
    rows = zip(arrays["window"].tolist(), arrays["at"].tolist(), [0, *ends], ends, strict=False)
    return about, tuple(Continuation(window, at, events[first:end]) for window, at, first, end in rows)


def _require_one_process() -> None:
    if jax.process_count() > 1:
        raise InputError(
            "several processes would each draw the flow of the run's own",
            where=f"{FILE} in --workdir",
            expected="the file that the run wrote before its first step, in one process",
            was="none",
            remedy="restore the file, or start the run in one process",
        )
