"""What paths take from the training records of a run: levels that come into view, and the largest sizes."""

import pathlib

import numpy as np

from lob_jax.data.records.builder import open_records
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import read_record, record_instrument
from lob_jax.data.records.reveals import FIT_EVENTS, Pairs, load_reveals, revealed_in
from lob_jax.errors import InputError
from lob_jax.generation.prompt import ANY_SIZES, NO_REVEALS, Prompt, RevealDistribution
from lob_jax.generation.reveals import fit_reveals
from lob_jax.tokens.tokenizer import Ability, Tokenizer


def reveals_of(
    prompt: Prompt, folder: pathlib.Path, tokenizer: Tokenizer, *, symbol: str, seed: int = 0
) -> RevealDistribution:
    """Return the distribution for the paths of a prompt; none if its book has no window.

    Raises:
      InputError: as `reveals_in_training`.
    """
    if not prompt.book.window:
        return NO_REVEALS
    return reveals_in_training(folder, tokenizer, symbol=symbol, seed=seed)


def reveals_in_training(
    folder: pathlib.Path, tokenizer: Tokenizer, *, symbol: str, seed: int = 0
) -> RevealDistribution:
    """Return the distribution for the paths of an instrument whose books have a window.

    It is measured as records are prepared. If they were prepared by an earlier version, which did not measure it, some
    training records are decoded instead.

    Args:
      folder: the folder of the records.
      tokenizer: their tokenizer.
      symbol: the instrument, whose training days are used.
      seed: seed of the samples.

    Raises:
      InputError: the records were prepared by an earlier version, and their tokens do not determine events.
    """
    measured = load_reveals(folder, symbol)
    if measured is not None:
        return fit_reveals([measured], seed=seed)
    if Ability.EVENTS in tokenizer.lacks:
        raise InputError(
            "the records do not say which levels came into view",
            where=f"reveals in the manifest of {folder}",
            expected=f"what was measured on the training days, since it does not follow from {tokenizer.name} tokens",
            was="records of an earlier version, which did not measure it",
            remedy="move the folder of the records away, and run --mode=prepare with this config and --workdir: the"
            " tokens will be the same",
        )
    return fit_reveals(_decoded(folder, tokenizer, symbol, seed), seed=seed)


def _decoded(folder: pathlib.Path, tokenizer: Tokenizer, symbol: str, seed: int) -> list[tuple[Pairs, Pairs]]:
    """Return what came into view in training records of an instrument, chosen at random."""
    found: list[tuple[Pairs, Pairs]] = []
    events, train = 0, open_records(folder, "train")
    for index in np.random.default_rng(seed).permutation(len(train)).tolist():
        record = train[index]
        if int(record["start_window"]) and record_instrument(record).symbol == symbol:
            day = read_record(record, tokenizer)
            found.append(revealed_in(day))
            events += len(day.events)
        if events >= FIT_EVENTS:
            break
    return found


def largest_in_training(folder: pathlib.Path, symbol: str) -> np.ndarray:
    """Return the largest size of each kind of event in the training records of an instrument, int32 [8], by kind.

    A kind without any event has the largest size of all kinds. Nothing is limited if there are no such records, or if
    they were prepared before their largest sizes were noted.

    Args:
      folder: the folder of the records.
      symbol: the instrument.
    """
    days = [day.get("largest_sizes", {}) for day in load_manifest(folder)["days"] if day["symbol"] == symbol]
    rows = [sizes["train"] for sizes in days if "train" in sizes]
    largest_K = np.max(rows, 0) if rows else np.zeros_like(ANY_SIZES)
    if not largest_K.any():
        return ANY_SIZES
    return np.minimum(np.where(largest_K > 0, largest_K, largest_K.max()), ANY_SIZES).astype(np.int32)
