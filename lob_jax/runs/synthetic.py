"""Synthetic flow to train on beside the real one: simulated once, or the training records of another run.

Simulated flow has a session for every day of the real training split: of the same instrument, on the same day, between
the same times, from the same mid price, of about as many events. Validation and test events shape nothing of it. The
flow itself is the simulator's, see `lob_jax.simulation.flow_parameters`.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
import numpy as np

from lob_jax.config import sections
from lob_jax.data.records.builder import VOCABULARY, PreparedRecords, open_records, prepare_records
from lob_jax.data.records.manifest import MANIFEST, is_earlier, load_manifest, record_format
from lob_jax.data.records.records import Record, mids, record_instrument
from lob_jax.errors import InputError, differing
from lob_jax.events.instrument import NS_PER_SECOND, Instrument
from lob_jax.feeds.synthetic import Session, SessionsFeed
from lob_jax.models.inputs import fields_held
from lob_jax.runs.records import record_plan, tokenizer_of
from lob_jax.settings import expanded
from lob_jax.simulation.flow_parameters import FlowParameters
from lob_jax.tokens.vocabulary import Vocabulary

FOLDER = "records_synthetic"  # beside the records
KEY = "config.data.augment.synthetic_run"
LOWEST_PRICE = 10_000  # ticks from which a simulated session starts at least: its price must not come near 0
SECONDS_A_DAY = 86_400


def prepare_synthetic(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Simulate the synthetic flow that a configuration asks for, unless it exists, or check that of the other run.

    The records of the run must be prepared. Only one process may call this.

    Raises:
      InputError: as `open_synthetic`, or another process is simulating.
    """
    augment = config.data.augment
    if augment.synthetic and augment.synthetic_run:
        open_synthetic(config, workdir)
    elif augment.synthetic:
        feed = SessionsFeed(list(_sessions(workdir / "records")), config.seed)
        days = feed.days()
        prepare_records(
            feed,
            days,
            folder=_folder(config, workdir),
            tokenizer=tokenizer_of(config, workdir),
            plan=dataclasses.replace(record_plan(config), train_fraction=1.0),
            inputs={"feed": "synthetic", **feed.inputs(days)},
            processes=config.data.processes,
        )


def open_synthetic(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> PreparedRecords:
    """Open the records of synthetic flow.

    Raises:
      InputError: there are none, they are those of the run itself, their tokens or arrays are other ones, their
        instruments are unknown to the model, or the flow begins where the run is validated or tested.
    """
    folder = _folder(config, workdir)
    if not (folder / MANIFEST).exists():
        raise _refused("prepared records of synthetic flow", f"none in {folder}", "run --mode=prepare there first")
    if folder.resolve() == (workdir / "records").resolve():
        raise _refused("the folder of another run", folder.parent, "name another run, or leave it out to simulate")
    ours, theirs = load_manifest(workdir / "records"), load_manifest(folder)
    _check_tokens(config, workdir, folder)
    _check_arrays(config, workdir, theirs)
    source = open_records(folder, "train")
    _check_instruments(config, ours, theirs)
    if config.data.augment.synthetic_run:
        _check_times(workdir, source)
    return source


def synthetic_identity(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, str]:
    """Return what identifies the synthetic flow in a run's fingerprint: a digest of what made its records, and of them.

    Empty without synthetic flow.
    """
    if not config.data.augment.synthetic:
        return {}
    manifest = load_manifest(_folder(config, workdir))
    content = json.dumps([manifest["fingerprint"], manifest["shards"]], sort_keys=True)
    return {"synthetic_records": hashlib.sha256(content.encode()).hexdigest()}


def _folder(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> pathlib.Path:
    """Return the folder of the synthetic records; runs whose records are links share the simulated ones of a seed."""
    other = config.data.augment.synthetic_run
    if other:
        return expanded(other, where=KEY) / "records"
    return (workdir / "records").resolve().with_name(FOLDER) / str(config.seed)


def _refused(expected: object, was: object, remedy: str, *, what: str = "this is no synthetic flow") -> InputError:
    return InputError(what, where=KEY, expected=expected, was=was, remedy=remedy)


def _sessions(folder: pathlib.Path) -> Iterator[Session]:
    """Yield the session beside each day of the training split, oldest first."""
    source, end = open_records(folder, "train"), 0
    for day in load_manifest(folder)["days"]:
        for part in day["parts"]:
            if part["split"] == "train":
                first, end = end, end + part["records"]
                yield session_beside(source[first], source[end - 1], events=part["events"])


def session_beside(first: Record, last: Record, *, events: int) -> Session:
    """Return the session to simulate beside a day, which begins and ends in the same seconds and at the same mid price.

    Args:
      first: the first training record of the day.
      last: the last one.
      events: number of its training events.
    """
    instrument = record_instrument(first)
    begin, end = int(_times(first)[0]), int(_times(last)[-1])
    open_s = min(max((begin - instrument.midnight_ns()) // NS_PER_SECOND, 0), SECONDS_A_DAY - 1)
    close_s = min(max(-(-(end - instrument.midnight_ns()) // NS_PER_SECOND), open_s + 1), SECONDS_A_DAY)
    parameters = FlowParameters(
        open_s=open_s, close_s=close_s, open_price=_open_price(first, instrument), tick=instrument.tick
    )
    return Session(dataclasses.replace(instrument, venue="SIM"), parameters, events)


def _open_price(record: Record, instrument: Instrument) -> int:
    """Return the first mid price of a record in ticks, at least LOWEST_PRICE."""
    known = mids(record)
    known = known[np.isfinite(known)]
    return max(math.floor(known[0] / instrument.tick) if len(known) else 0, LOWEST_PRICE)


def _times(record: Record) -> np.ndarray:
    """Return the times of a record's events without its lead, int64 ns."""
    return np.asarray(record["clock_ns"])[int(record["lead_events"]) + 1 :]


def _check_tokens(config: ml_collections.ConfigDict, workdir: pathlib.Path, folder: pathlib.Path) -> None:
    ours, theirs = tokenizer_of(config, workdir).vocabulary, Vocabulary.load(folder / VOCABULARY)
    if ours.hash != theirs.hash:
        expected, was = differing(dataclasses.asdict(ours), dataclasses.asdict(theirs))
        remedy = "prepare the synthetic flow with the config.tokens of this run"
        raise _refused(expected, was, remedy, what="the tokens of the synthetic flow mean other things")


def _check_arrays(config: ml_collections.ConfigDict, workdir: pathlib.Path, theirs: Mapping[str, Any]) -> None:
    """Check that windows of the other records have the arrays of the model, in the same shapes."""
    wanted = record_format(tokenizer_of(config, workdir), flow_state=config.model.flow_state)
    found = theirs["fingerprint"]
    what, remedy = "the records of the synthetic flow lack what the model reads", "prepare them with this configuration"
    if is_earlier(theirs, wanted):
        raise _refused(f"format {wanted} or later", f"format {found.get('format')}", remedy, what=what)
    if found["book_levels"] != config.data.book_levels:
        expected, was = (f"book_levels = {levels}" for levels in (config.data.book_levels, found["book_levels"]))
        raise _refused(expected, was, remedy, what=what)


def _check_instruments(config: ml_collections.ConfigDict, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    if "instrument" not in fields_held(sections.model_config(config)):
        return
    known, found = (sorted({day["symbol"] for day in one["days"]}) for one in (ours, theirs))
    if not set(found) <= set(known):
        remedy = "simulate the flow, or pass --config.model.n_instruments=0: a model that tells no instruments apart"
        raise _refused(known, found, remedy, what="the synthetic flow is of instruments that the model does not know")


def _check_times(workdir: pathlib.Path, source: PreparedRecords) -> None:
    """Check that the flow of an instrument's day begins before the end of the day's training events, if there is one.

    Generated flow goes on from a real book: one of the validation or test split would tell the model about them.
    """
    held_out = _ends_of_training(workdir / "records")
    for index, about in enumerate(source.outlines):
        if about.first_event > 0:  # what comes later follows from what was synthetic before
            continue
        record = source[index]
        instrument, begin = record_instrument(record), int(record["start_time_ns"])
        end = held_out.get((instrument.symbol, instrument.trading_day))
        if end is not None and begin >= end:
            raise _refused(
                f"flow of {instrument.symbol} on {instrument.trading_day} from before {_clock(end, instrument)}, where"
                " the training split ends",
                f"from {_clock(begin, instrument)}",
                "generate it with a run whose test split begins within this one's training split, or on other days",
                what="the synthetic flow goes on from events on which the run is validated or tested",
            )


def _ends_of_training(folder: pathlib.Path) -> dict[tuple[str, str], int]:
    """Return the time after the last training event of each symbol and day, ns; 0 for a day without training events."""
    source, end, found = open_records(folder, "train"), 0, {}
    for day in load_manifest(folder)["days"]:
        records = sum(part["records"] for part in day["parts"] if part["split"] == "train")
        end += records
        found[day["symbol"], day["trading_day"]] = int(_times(source[end - 1])[-1]) + 1 if records else 0
    return found


def _clock(time_ns: int, instrument: Instrument) -> str:
    """Return a time on the clock of the venue, to the second."""
    seconds = (time_ns - instrument.midnight_ns()) // NS_PER_SECOND
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
