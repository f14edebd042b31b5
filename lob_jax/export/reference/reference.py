"""`Reference`: what the training split of a model looked like, and how well it predicted the validation split.

A bundle holds it in `reference.json`, and its counts in `reference.safetensors`.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

from lob_jax.errors import InputError
from lob_jax.export.plain import AGAIN, made_of, read_object, text_of
from lob_jax.export.reference.event_counts import SHAPES, EventCounts
from lob_jax.export.reference.features import BINS
from lob_jax.export.reference.half_hours import HALF_HOURS
from lob_jax.export.reference.quality import Quality
from lob_jax.later_keys import Source
from lob_jax.tokens.vocabulary import MAX_NUMBER_DIGITS

REFERENCE, COUNTS = "reference.json", "reference.safetensors"
_FEATURE, _BASELINE = "features/", "baseline/"
_MOST = np.iinfo(np.int32).max


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """What live events and their scores are compared with.

    Attributes:
      time_zone: IANA name of the exchange's clock.
      tick: price quanta in a tick of the training days.
      comparable: whether the model's likelihoods are those of the events that the counts predict; if not, because its
        tokens are bins or tell orders of one size apart, only changes of the difference mean something.
      features: int64 [HALF_HOURS, bins] by name, see `features.BINS`: how many events of training were in each bin in
        each half hour of the day.
      baseline: counts of the training events, which predict events.
      quality: how well the model predicted events of the validation split; None if it does not score events.
    """

    time_zone: str
    tick: int
    comparable: bool
    features: Mapping[str, np.ndarray]
    baseline: EventCounts
    quality: Quality | None


@dataclasses.dataclass(frozen=True)
class _Plain:
    """The content of `reference.json`."""

    time_zone: str
    tick: int
    comparable: bool
    quality: Quality | None


def write_reference(folder: pathlib.Path, reference: Reference) -> None:
    """Write a reference to the two files of a folder."""
    plain = {field.name: getattr(reference, field.name) for field in dataclasses.fields(_Plain)}
    quality = None if reference.quality is None else dataclasses.asdict(reference.quality)
    (folder / REFERENCE).write_text(text_of({**plain, "quality": quality}), encoding="utf-8")
    arrays = {_FEATURE + name: counts for name, counts in reference.features.items()}
    arrays |= {_BASELINE + name: getattr(reference.baseline, name) for name in SHAPES}
    save_file({name: np.minimum(array, _MOST).astype(np.int32) for name, array in arrays.items()}, folder / COUNTS)


def read_reference(folder: pathlib.Path, *, written_by: str) -> Reference | None:
    """Read a reference back; None if the folder has none, as that of a bundle of an earlier version.

    Args:
      folder: the folder.
      written_by: the version of lob_jax that wrote it.

    Raises:
      InputError: a file cannot be read, or its counts are none.
    """
    if not (folder / REFERENCE).exists():
        return None
    source = Source("the reference of the bundle", of="one", where=folder / REFERENCE, written_by=written_by)
    plain = made_of(_Plain, read_object(folder / REFERENCE), source)
    arrays = _arrays(folder / COUNTS)
    return Reference(
        time_zone=plain.time_zone,
        tick=plain.tick,
        comparable=plain.comparable,
        features={name: arrays[_FEATURE + name] for name in BINS},
        baseline=EventCounts(**{name: arrays[_BASELINE + name] for name in SHAPES}),
        quality=plain.quality,
    )


def _arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Read the counts, as int64."""
    try:
        found = load_file(path)
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise _no_counts(path, f"{type(error).__name__}: {error}") from error
    wanted: dict[str, tuple[int, ...]] = {_FEATURE + name: (HALF_HOURS, bins) for name, bins in BINS.items()}
    wanted |= {_BASELINE + name: shape for name, shape in SHAPES.items()}
    if {name: array.shape for name, array in found.items()} != wanted:
        raise _no_counts(path, {name: array.shape for name, array in found.items()})
    for name, array in found.items():
        if array.dtype != np.int32 or array.min() < 0:
            raise _no_counts(path, f"{name}: {array.dtype.name}, at least {array.min()}")
    if not 2 <= found[_BASELINE + "digits"][0] <= MAX_NUMBER_DIGITS:
        raise _no_counts(path, f"{found[_BASELINE + 'digits'][0]} digits of a gap")
    return {name: array.astype(np.int64) for name, array in found.items()}


def _no_counts(where: object, was: object) -> InputError:
    return InputError(
        "the counts of the reference cannot be read",
        where=where,
        expected="int32 counts of 0 and more by feature, in each half hour, and those of the baseline",
        was=was,
        remedy=AGAIN,
    )
