"""What a new run takes over from a trained one: parameters of the same path and shape, under its own settings.

Whatever is measured on data is measured on those of the new run: means and deviations of features, shares of escapes,
thresholds of regimes. Instruments are matched by symbol, whatever their number in either run.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lob_jax.errors import InputError
from lob_jax.models.config import ModelConfig
from lob_jax.models.transformer import stack_layers, unstack_layers
from lob_jax.training.run.identity import model_identity
from lob_jax.training.step.paths import by_path, require_matches, shapes_of
from lob_jax.training.step.state import abstract_params

INSTRUMENTS = "embeddings/instrument/table"
LISTED = 10  # differences in an error
WHERE = "config.train.init_allow"


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Where the first parameters of a run come from.

    Attributes:
      taken: parameters of the other run by path, on the host; NaN where the new run has its own.
      source: that run, as plain JSON values: folder, step, SHA-256 of its parameters, and what of them was not taken.
      remarks: sentences for the log.
    """

    taken: dict[str, np.ndarray]
    source: dict[str, Any]
    remarks: tuple[str, ...]


def in_layout_of(params: Any, theirs: ModelConfig, ours: ModelConfig) -> Any:
    """Return parameters with their layers stacked, or in a loop, as another model has its own, of any number."""
    if theirs.scan_layers == ours.scan_layers:
        return params
    return stack_layers(params, theirs) if ours.scan_layers else unstack_layers(params, theirs)


def differences(theirs: Mapping[str, tuple[int, ...]], ours: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Return how the shapes of two models differ, in words by path: new, left out, or of another shape."""
    found = {}
    for name in sorted({**theirs, **ours}):
        one, other = theirs.get(name), ours.get(name)
        if one is None:
            found[name] = f"new, {other}"
        elif other is None:
            found[name] = f"left out, {one}"
        elif one != other and not (name == INSTRUMENTS and one[1:] == other[1:]):
            found[name] = f"{one} becomes {other}"
    return found


def allowed_differences(theirs: ModelConfig, ours: ModelConfig, *, allow: Sequence[str]) -> dict[str, str]:
    """Return how the parameters of a source differ from those of a new run, see `differences`.

    Args:
      theirs: the source's model.
      ours: the new run's model.
      allow: patterns of parameters that may differ.

    Raises:
      InputError: others differ, of which the first ten are listed; or a pattern matches no parameter of either model.
    """
    layouts = dataclasses.replace(theirs, scan_layers=ours.scan_layers)
    shapes = shapes_of(abstract_params(layouts)), shapes_of(abstract_params(ours))
    found = differences(*shapes)
    allowed = require_matches(allow, {**shapes[0], **shapes[1]}, where=WHERE)
    refused = [name for name in found if name not in allowed]
    if refused:
        more = [f"and {len(refused) - LISTED} more"] if len(refused) > LISTED else []
        raise InputError(
            "the model differs from that of the run to start from",
            where=WHERE,
            expected="parameters of the same paths and shapes, but for those that a pattern names",
            was="\n".join([*(f"{name}: {found[name]}" for name in refused[:LISTED]), *more]),
            remedy="give both models the same settings, or name these parameters, as in"
            f" --config.train.init_allow='{refused[0].rpartition('/')[0]}/*'",
        )
    return found


def taken_over(
    params: Any, differing: Mapping[str, str], *, symbols: Sequence[str], known: Sequence[str], instruments: int
) -> dict[str, np.ndarray]:
    """Return the parameters that a new run takes over, by path; see `Start`.

    Args:
      params: the source's parameters, in the layout of the new run.
      differing: those that are not taken, see `differences`.
      symbols: the new run's symbols, in the order of its table of instruments.
      known: those of the source.
      instruments: rows of the new run's table; 0 for no table.
    """
    taken = {name: np.asarray(leaf) for name, leaf in by_path(params).items() if name not in differing}
    if INSTRUMENTS in taken:
        taken[INSTRUMENTS] = rows_of_symbols(taken[INSTRUMENTS], symbols, known, rows=instruments)
    return taken


def rows_of_symbols(table_RD: np.ndarray, symbols: Sequence[str], known: Sequence[str], *, rows: int) -> np.ndarray:
    """Return the table of instruments for other symbols: the row of each known one, and NaN for all others."""
    found = np.full((rows, table_RD.shape[1]), np.nan, table_RD.dtype)
    for row, symbol in enumerate(symbols):
        if symbol in known:
            found[row] = table_RD[known.index(symbol)]
    return found


def changed_settings(theirs: ModelConfig, ours: ModelConfig) -> dict[str, list[Any]]:
    """Return [value of the source, value of the new run] of each setting that decides what a model computes."""
    one, other = model_identity(theirs), model_identity(ours)
    return {
        f"model.{key}": [one.get(key), other.get(key)] for key in {**one, **other} if one.get(key) != other.get(key)
    }
