"""What the model of a configuration reads in addition to tokens, with thresholds of the training split."""

import dataclasses
import pathlib

import ml_collections

from lob_jax.config import sections
from lob_jax.data.labels.moves import fit_outlooks
from lob_jax.data.labels.regimes import fit_regimes
from lob_jax.data.records.builder import open_records
from lob_jax.data.records.manifest import load_manifest
from lob_jax.data.windows.known import MAKERS, SETS, Beside
from lob_jax.errors import InputError
from lob_jax.models.inputs import fields_held, fields_read
from lob_jax.runs.records import tokenizer_of


def beside_of(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Beside:
    """Return what a configuration's model reads in addition to tokens, with thresholds of the training split.

    Raises:
      InputError: there are no records, or more instruments than the model can tell apart.
    """
    model, train = sections.model_config(config), open_records(workdir / "records", "train")
    bins = {"volatility_bins": config.data.volatility_regimes, "spread_bins": config.data.spread_regimes}
    # The other arrays of a window are no matter of choice.
    names = tuple(name for name in fields_held(model) if name in (*MAKERS, SETS))
    symbols = tuple(sorted({day["symbol"] for day in load_manifest(workdir / "records")["days"]}))
    if 0 < model.n_instruments < len(symbols):
        raise InputError(
            "there are more instruments than the model can tell apart",
            where="config.model.n_instruments",
            expected=f"0, or at least {len(symbols)}: {', '.join(symbols[:20])}",
            was=model.n_instruments,
            remedy=f"pass --config.model.n_instruments={len(symbols)}, or name fewer --config.data.symbols",
        )
    return Beside(
        names=names,
        regimes=fit_regimes(train, **bins) if "regime" in names else None,
        prefix=model.regime == "prefix",
        symbols=symbols,
        outlooks=fit_outlooks(train, model.heads.outlook_events) if "direction" in names else None,
        tokenizer=tokenizer_of(config, workdir),
    )


def read_in_training(beside: Beside, config: ml_collections.ConfigDict) -> Beside:
    """Return what training windows have of it: what a step reads, and the regimes that prefixes are made from."""
    read = {*fields_read(sections.model_config(config)), *(("regime",) if beside.prefix else ())}
    return dataclasses.replace(beside, names=tuple(name for name in beside.names if name in read))


def regime_bins(config: ml_collections.ConfigDict) -> dict[str, int]:
    """Return the settings that define the regimes, by key of the data section; empty if the model uses no regimes."""
    by_regime = "regime" in fields_held(sections.model_config(config))
    return {key: config.data[key] for key in ("volatility_regimes", "spread_regimes")} if by_regime else {}
