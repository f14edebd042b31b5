"""What paths take from the training records of a run: levels that come into view, and the largest sizes."""

import pathlib

import numpy as np

from lob_jax.book.replay import replay
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.records.records import RecordSource, read_record, record_instrument
from lob_jax.generation.device.out_of_view import NO_REVEALS, RevealDistribution
from lob_jax.generation.device.state import ANY_SIZES, Prompt
from lob_jax.generation.reveals import Revealed, fit_reveals, follow_view
from lob_jax.tokens.tokenizer import Tokenizer

FIT_EVENTS = 1 << 16  # of the training records that a distribution is fitted to


def reveals_of(
    prompt: Prompt, train: RecordSource, tokenizer: Tokenizer, *, symbol: str, seed: int = 0
) -> RevealDistribution:
    """Return the distribution for the paths of a prompt; none if its book has no window.

    Args:
      prompt: the prompt.
      train: the records of the training split, of which a sample is read.
      tokenizer: their tokenizer.
      symbol: the instrument, whose records are used.
      seed: seed of the samples.
    """
    if not prompt.book.window:
        return NO_REVEALS
    found: list[tuple[Revealed, Revealed]] = []
    events, tick = 0, 1
    for index in np.random.default_rng(seed).permutation(len(train)).tolist():
        record = train[index]
        window, instrument = int(record["start_window"]), record_instrument(record)
        if window and instrument.symbol == symbol:
            day = read_record(record, tokenizer)
            found.append(follow_view(replay(day, window)).revealed)
            events, tick = events + len(day.events), instrument.tick
        if events >= FIT_EVENTS:
            break
    return fit_reveals(found, tick=tick, seed=seed)


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
