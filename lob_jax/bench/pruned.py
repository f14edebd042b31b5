"""Measure the decoding speed of a model without some of its heads and columns, beside the whole one.

`python -m lob_jax.bench.pruned` generates one path with a model of 6 layers x 384 x 6 heads, and with the same model
without the shares `--heads` and `--columns`, in turns in one process, `--rounds` times. Both have random parameters,
since speed does not depend on them; compilation is not timed. Times, and the ratio of both in a round, are medians.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from typing import Any

from lob_jax.bench.generate import PACKAGES, Ours, Sample, measure
from lob_jax.bench.generate import parsed as generating
from lob_jax.bench.surroundings import surroundings
from lob_jax.models.accounting import flops_per_token, parameter_count
from lob_jax.models.config import ModelConfig
from lob_jax.models.pruning import cut_config
from lob_jax.training.pruning import PruneConfig, kept_counts

WHOLE, PRUNED = "whole", "pruned"


def without(model: ModelConfig, heads: float, columns: float) -> ModelConfig:
    """Return the configuration of a model without these shares of its heads and columns."""
    left = kept_counts(model, PruneConfig(into="", heads=heads, columns=columns, windows=1))
    return cut_config(model, heads=left[0], columns=left[1])


def figures(samples: dict[str, list[Sample]], models: dict[str, ModelConfig]) -> dict[str, Any]:
    """Return the results: of each model its shape, size and milliseconds per token; and the ratio of their times."""
    each = {name: [1e3 * one.seconds / one.tokens for one in taken] for name, taken in samples.items()}
    ratios = [pruned / whole for whole, pruned in zip(each[WHOLE], each[PRUNED], strict=True)]
    models_told = {
        name: {
            "heads": model.n_heads,
            "columns": model.d_ff,
            "parameters": parameter_count(model),
            "flops_per_token": flops_per_token(model, model.max_seq_length),
            "ms_per_token": statistics.median(each[name]),
        }
        for name, model in models.items()
    }
    return {**models_told, "ratio": statistics.median(ratios), "ratios": ratios}


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure both models in turns; return the results."""
    settings = generating([f"--{key}={getattr(chosen, key)}" for key in ("tokens", "context", "layers", "width")])
    ours = Ours(settings)
    models = {WHOLE: ours.model, PRUNED: without(ours.model, chosen.heads, chosen.columns)}
    ours.models |= models

    def side(name: str) -> Any:
        return lambda batch, seed: ours.once(name, batch, seed)

    return figures(measure({name: side(name) for name in models}, 1, rounds=chosen.rounds), models)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="lob_jax.bench.pruned", description=__doc__)
    parser.add_argument("--heads", type=float, default=0.25, help="share of the heads to remove")
    parser.add_argument("--columns", type=float, default=0.25, help="share of the feed-forward columns to remove")
    parser.add_argument("--tokens", type=int, default=224, help="tokens to generate per round")
    parser.add_argument("--context", type=int, default=1024, help="context length of the model")
    parser.add_argument("--layers", type=int, default=6, help="layers of the model, on a CPU")
    parser.add_argument("--width", type=int, default=384, help="width of the model, on a CPU")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per model, then one JSON object."""
    found = run(parsed(arguments))
    for name in (WHOLE, PRUNED):
        one = found[name]
        print(
            f"{name}: {one['heads']} heads, {one['columns']:,} columns, {one['parameters'] / 1e6:.1f}M parameters,"
            f" {one['ms_per_token']:.2f} ms per token"
        )
    print(f"time per token, {PRUNED} / {WHOLE}: {found['ratio']:.3f}")
    print(json.dumps({"benchmark": "pruned", **found, **surroundings("pruned", packages=PACKAGES, used="all used")}))


if __name__ == "__main__":
    main()
