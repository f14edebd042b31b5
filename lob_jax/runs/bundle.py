"""Collect from a trained run what its bundle is made of, as plain values; see `lob_jax.export.bundle`."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lob_jax.data.records.builder import open_records
from lob_jax.data.records.escapes import training_escapes
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import Record, record_instrument
from lob_jax.data.records.split import SPLITS
from lob_jax.errors import InputError
from lob_jax.export.card import make_card
from lob_jax.export.contents import Contents, RegimeEdges, Reveals, Sampling, Settings
from lob_jax.generation.prompt import NO_REVEALS
from lob_jax.runs.load import Run
from lob_jax.runs.reveals import largest_in_training, reveals_in_training
from lob_jax.tokens.sets.shares import SHAPE
from lob_jax.training.run.weights import flat

EVALUATION = "evaluation.json"


@dataclasses.dataclass(frozen=True, eq=False)
class BundleParts:
    """What a bundle of a run is made of, besides graphs: the arguments of `write_bundle`.

    Attributes:
      contents: the model, its vocabulary, the instrument, and what generation needs.
      weights: the parameters by path.
      card: the model card.
      about: what the metadata of the weights say.
    """

    contents: Contents
    weights: dict[str, np.ndarray]
    card: dict[str, Any]
    about: dict[str, Any]


def bundle_parts(run: Run, *, title: str = "", validity: Mapping[str, Any] | None = None) -> BundleParts:
    """Collect what a bundle of a run is made of. Nothing of it names a folder of this machine.

    The instrument is that of the first test record, as in `generate`; sizes and what comes into view are those of its
    training days.

    Args:
      run: a trained run.
      title: title of the card; by default the model's size and the instrument.
      validity: of generated events, see `make_card`.

    Raises:
      InputError: the run has no records, or its evaluation.json cannot be read.
    """
    weights, step = flat(run.params), run.checkpoint
    loss = step.validation_loss if math.isfinite(step.validation_loss) else None
    training: dict[str, Any] = {"step": step.step, "validation_loss": loss}
    if step.source is not None:  # not its folder, which is of this machine
        training["source"] = {key: step.source[key] for key in ("step", "parameters", "days")}
    contents = _contents(run, _first_record(run))
    parameters = sum(array.size for array in weights.values())
    card = make_card(
        title=title or f"lob_jax, {parameters:,} parameters, {contents.instrument.symbol}",
        model=run.model.to_dict(),
        parameters=parameters,
        vocabulary=_vocabulary(run),
        training=training,
        data=_data(run),
        versions=step.versions,
        evaluation=_evaluation(run.workdir / EVALUATION),
        validity=validity,
    )
    return BundleParts(
        contents, weights, card, about={**training, "averaged": step.averaged, "versions": step.versions}
    )


def _first_record(run: Run) -> Record:
    """Return the first record of the test split; of an earlier one if there is none."""
    for split in reversed(SPLITS):
        records = open_records(run.workdir / "records", split)
        if len(records):
            return records[0]
    raise InputError(
        "the run has no records",
        where=run.workdir / "records",
        expected="at least one record",
        was=0,
        remedy="prepare more events",
    )


def _contents(run: Run, record: Record) -> Contents:
    folder, instrument, regimes = run.workdir / "records", record_instrument(record), run.beside.regimes
    window = int(record["start_window"])
    reveals = reveals_in_training(folder, run.tokenizer, symbol=instrument.symbol) if window else NO_REVEALS
    settings = Settings(
        book_levels=run.config.data.book_levels,
        window=window,
        pooled=bool(record["start_pooled"]),
        symbols=run.beside.symbols,
        regimes=RegimeEdges(regimes.volatility_edges, regimes.spread_edges) if regimes else None,
        sampling=Sampling(**{field.name: run.config.generate[field.name] for field in dataclasses.fields(Sampling)}),
    )
    return Contents(
        model=run.model,
        vocabulary=run.tokenizer.vocabulary,
        instrument=instrument,
        settings=settings,
        largest=largest_in_training(folder, instrument.symbol),
        reveals=Reveals(*map(np.asarray, reveals)),
        escapes=np.zeros(SHAPE) if run.model.mask == "none" else training_escapes(load_manifest(folder)),
    )


def _vocabulary(run: Run) -> dict[str, Any]:
    vocabulary = run.tokenizer.vocabulary
    named = {name: getattr(vocabulary, name) for name in ("tokenizer", "time_digits", "references")}
    return {**named, "hash": vocabulary.hash}


def _data(run: Run) -> dict[str, Any]:
    """Return what the card says of the records: the feed, the days, the splits and the fingerprint."""
    manifest = load_manifest(run.workdir / "records")
    fingerprint = manifest["fingerprint"]
    return {
        "feed": fingerprint["inputs"]["feed"],
        "days": fingerprint["days"],
        "splits": manifest["splits"],
        "fingerprint": fingerprint,
    }


def _evaluation(path: pathlib.Path) -> dict[str, Any] | None:
    """Return the evaluation of a run, if it has one."""
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            "the evaluation of the run cannot be read",
            where=path,
            expected="what --mode=evaluate writes",
            was=error,
            remedy="run --mode=evaluate again, or delete it to write a card without it",
        ) from error
