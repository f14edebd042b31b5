"""What a bundle says about its model besides the weights: all that generation needs, as plain files.

`model.json` holds the model's configuration, the instrument and the settings; `generation.safetensors` the arrays of
the settings, and the escape shares; `vocabulary.json` the vocabulary, which determines the tokenizer. What live
events are compared with, if there is such a reference, is in `reference.json` and `reference.safetensors`.
"""

import dataclasses
import pathlib
from typing import Any, NamedTuple

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Kind
from lob_jax.export.plain import AGAIN, made_of, read_object, text_of
from lob_jax.export.reference.reference import Reference, read_reference, write_reference
from lob_jax.later_keys import Source
from lob_jax.models.config import ModelConfig
from lob_jax.tokens.sets.shares import SHAPE
from lob_jax.tokens.vocabulary import VOCAB_SIZE, Vocabulary

MODEL, GENERATION, VOCABULARY = "model.json", "generation.safetensors", "vocabulary.json"
_LARGEST, _REVEALS, _ESCAPES = "largest", "reveals/", "escapes"


class Reveals(NamedTuple):
    """What comes into view of a book with a window where no level is remembered; see `RevealDistribution`.

    Attributes:
      ticks_2K: int32 [2, K], ticks behind the level before it, of bids and asks.
      lots_2K: int32 [2, K], lots at the level.
      count_2: int32 [2], number of pairs of bids and of asks.
    """

    ticks_2K: np.ndarray
    lots_2K: np.ndarray
    count_2: np.ndarray


@dataclasses.dataclass(frozen=True)
class RegimeEdges:
    """The thresholds of regimes; see `lob_jax.data.labels.regimes.Regimes`."""

    volatility_edges: tuple[float, ...]
    spread_edges: tuple[float, ...]

    @property
    def count(self) -> int:
        """Return the number of regimes."""
        return (len(self.volatility_edges) + 1) * (len(self.spread_edges) + 1)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the run samples unless it is told otherwise; the keys of `config.generate`."""

    prompt_events: int
    paths: int
    events: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    limit_sizes: bool
    seed: int


@dataclasses.dataclass(frozen=True)
class Settings:
    """What generation takes besides parameters, a prompt and an instrument.

    Attributes:
      book_levels: levels per side in the book features.
      window: levels per side that the feed of the training data shows, 0 for all.
      pooled: whether that feed shows levels, not orders.
      symbols: the instruments of training, whose order determines their numbers.
      regimes: thresholds of regimes, for a model that reads them.
      sampling: the default settings of the sampler.
    """

    book_levels: int
    window: int
    pooled: bool
    symbols: tuple[str, ...]
    regimes: RegimeEdges | None
    sampling: Sampling


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """A model, and all that generation needs besides its weights and a prompt.

    Attributes:
      model: the model's configuration.
      vocabulary: its vocabulary.
      instrument: the instrument that it continues.
      settings: the plain settings of generation.
      largest: int32 [8], by kind: the largest size of events in training, see `Prompt.largest`.
      reveals: what comes into view, if the book has a window.
      escapes: float64 [F, K], by field and kind of event: how often tokens of training were outside their sets, see
        `lob_jax.tokens.sets.shares`; 0 for a model without a mask.
      reference: what live events and their scores are compared with; None in bundles of earlier versions, in
        checkpoints, and for tokens that do not give their events back.
    """

    model: ModelConfig
    vocabulary: Vocabulary
    instrument: Instrument
    settings: Settings
    largest: np.ndarray
    reveals: Reveals
    escapes: np.ndarray
    reference: Reference | None = None


def write_contents(folder: pathlib.Path, contents: Contents) -> None:
    """Write the files of the contents to a folder."""
    plain = {
        "model": contents.model.to_dict(),
        "instrument": contents.instrument.to_dict(),
        "settings": dataclasses.asdict(contents.settings),
    }
    (folder / MODEL).write_text(text_of(plain), encoding="utf-8")
    contents.vocabulary.save(folder / VOCABULARY)
    arrays = {_LARGEST: contents.largest, **{_REVEALS + k: v for k, v in contents.reveals._asdict().items()}}
    arrays = {name: np.ascontiguousarray(array, np.int32) for name, array in arrays.items()}
    save_file({**arrays, _ESCAPES: np.ascontiguousarray(contents.escapes, np.float64)}, folder / GENERATION)
    if contents.reference is not None:
        write_reference(folder, contents.reference)


def read_contents(folder: pathlib.Path, *, written_by: str) -> Contents:
    """Read the contents back, and check that they fit each other.

    Args:
      folder: the folder.
      written_by: the version of lob_jax that wrote it.

    Raises:
      InputError: a file cannot be read, or the model does not fit the vocabulary, the settings or the instrument.
    """
    source = Source("the description of the model", of="a model", where=folder / MODEL, written_by=written_by)
    plain = made_of(_Plain, read_object(folder / MODEL), source)
    read_object(folder / VOCABULARY)  # for its strictness, which `load` lacks
    contents = Contents(
        model=plain.model,
        vocabulary=Vocabulary.load(folder / VOCABULARY),
        instrument=plain.instrument,
        settings=plain.settings,
        **_arrays(folder / GENERATION),
        reference=read_reference(folder, written_by=written_by),
    )
    check_fit(contents, where=folder)
    return contents


def check_fit(contents: Contents, *, where: object) -> None:
    """Check that the parts of contents fit each other.

    Raises:
      InputError: they do not; names what differs.
    """
    model, settings, regimes = contents.model, contents.settings, contents.settings.regimes
    known = not model.n_instruments or contents.instrument.symbol in settings.symbols[: model.n_instruments]
    pairs = {
        "vocab_size, the tokens of the vocabulary": (model.vocab_size, VOCAB_SIZE),
        "book_features, four per level": (model.book_features, 4 * settings.book_levels),
        "n_regimes, the regimes between the thresholds": (
            *((model.n_regimes, regimes.count) if regimes else (model.regime, "none")),
        ),
        "n_instruments, which number the instrument": (known, True),
    }
    for name, (has, fits) in pairs.items():
        if has != fits:
            raise InputError(
                "the model of the bundle does not fit its vocabulary or its settings",
                where=f"{where}, {name}",
                expected=fits,
                was=has,
                remedy=AGAIN,
            )
    _check_instrument(contents.instrument, where=f"{where}, instrument")
    _check_arrays(contents, where=where)


@dataclasses.dataclass(frozen=True)
class _Plain:
    """The content of `model.json`."""

    model: ModelConfig
    instrument: Instrument
    settings: Settings


def _check_instrument(instrument: Instrument, *, where: str) -> None:
    scales = (instrument.price_scale, instrument.tick, instrument.lot_scale)
    try:
        instrument.midnight_ns()
        valid = min(scales) > 0
    except (ValueError, KeyError, OSError):  # no such date, no such time zone, or a name that is no time zone's
        valid = False
    if not valid:
        raise InputError(
            "the instrument of the bundle is none",
            where=where,
            expected="a date, a time zone, and a tick and scales above 0",
            was=f"{instrument.trading_day}, {instrument.time_zone}, {scales}",
            remedy=AGAIN,
        )


def _check_arrays(contents: Contents, *, where: object) -> None:
    """Check the shapes of the arrays, and that they count what they hold."""
    largest, (ticks_2K, lots_2K, count_2) = contents.largest, contents.reveals
    arrays = (largest, ticks_2K, lots_2K, count_2)
    shapes = [(len(Kind) + 1,), (2, ticks_2K.size // 2), (2, ticks_2K.size // 2), (2,)]
    fits = [array.shape for array in arrays] == shapes and {array.dtype for array in arrays} == {np.dtype(np.int32)}
    if fits:
        held_2K = np.arange(ticks_2K.shape[1]) < count_2[:, None]
        positive = [(ticks_2K > 0)[held_2K], (lots_2K > 0)[held_2K], largest > 0, count_2 >= 0]
        fits = all(values.all() for values in positive) and count_2.max() <= ticks_2K.shape[1]
    escapes = contents.escapes
    fits = fits and escapes.shape == SHAPE and escapes.dtype == np.float64
    if not fits or not ((escapes >= 0) & (escapes < 1)).all():
        raise _no_arrays(where, f"{[(array.shape, array.dtype.name) for array in (*arrays, escapes)]}")


def _arrays(path: pathlib.Path) -> dict[str, Any]:
    """Read the largest sizes, what comes into view, and the escape shares."""
    try:
        found = load_file(path)
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise _no_arrays(path, f"{type(error).__name__}: {error}") from error
    reveals = [_REVEALS + name for name in Reveals._fields]
    wanted = [_LARGEST, _ESCAPES, *reveals]
    if sorted(found) != sorted(wanted):
        raise _no_arrays(path, sorted(found))
    return {
        "largest": found[_LARGEST],
        "reveals": Reveals(*(found[name] for name in reveals)),
        "escapes": found[_ESCAPES],
    }


def _no_arrays(where: object, was: object) -> InputError:
    return InputError(
        "the arrays of generation cannot be read",
        where=where,
        expected=f"{len(Kind) + 1} largest sizes, and pairs of ticks and lots with their number, all int32 above 0; "
        f"escape shares, float64 {list(SHAPE)} of 0 or more, below 1",
        was=was,
        remedy=AGAIN,
    )
