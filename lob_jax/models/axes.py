"""Name the axes of each parameter; rules for sharding over devices refer to these names."""

from typing import Any

import jax

# By the last two keys of a parameter's path. None is an axis that is never sharded; "embed" is the residual stream.
PARAMETER_AXES: dict[tuple[str, str], tuple[str | None, ...]] = {
    ("token", "table"): ("vocab", "embed"),
    ("parts", "table"): (None, "embed"),
    ("position", "table"): (None, "embed"),
    ("time_of_day", "table"): (None, "embed"),
    ("day_of_week", "table"): (None, "embed"),
    ("regime", "table"): (None, "embed"),
    ("instrument", "table"): (None, "embed"),
    ("book", "kernel"): (None, "embed"),
    ("book", "bias"): ("embed",),
    ("flow", "kernel"): (None, "embed"),
    ("flow", "bias"): ("embed",),
    ("embeddings", "queue"): (None, "embed"),
    ("embeddings", "price_memory"): (None, "embed"),
    ("embeddings", "latest"): (None, "embed"),
    ("embeddings", "book_mean"): (None,),
    ("embeddings", "book_deviation"): (None,),
    ("embeddings", "flow_mean"): (None,),
    ("embeddings", "flow_deviation"): (None,),
    ("qkv", "kernel"): ("embed", None, "heads", "head"),
    ("qkv", "bias"): (None, "heads", "head"),
    ("query_norm", "scale"): ("head",),
    ("query_norm", "bias"): ("head",),
    ("key_norm", "scale"): ("head",),
    ("key_norm", "bias"): ("head",),
    ("query", "kernel"): ("embed", "heads", "head"),
    ("query", "bias"): ("heads", "head"),
    ("key_value", "kernel"): ("embed", None, "heads", "head"),
    ("key_value", "bias"): (None, "heads", "head"),
    ("mix", "key_summary"): (None, None),
    ("mix", "value_summary"): (None, None),
    ("output", "kernel"): ("heads", "head", "embed"),
    ("output", "bias"): ("embed",),
    ("widen", "kernel"): ("embed", "ff"),
    ("widen", "bias"): ("ff",),
    ("gate", "kernel"): ("embed", "ff"),
    ("gate", "bias"): ("ff",),
    ("narrow", "kernel"): ("ff", "embed"),
    ("narrow", "bias"): ("embed",),
    ("dense", "kernel"): ("embed", None),
    ("dense", "bias"): ("embed",),
    ("norm", "scale"): ("embed",),
    ("norm", "bias"): ("embed",),
    ("norm1", "scale"): ("embed",),
    ("norm1", "bias"): ("embed",),
    ("norm2", "scale"): ("embed",),
    ("norm2", "bias"): ("embed",),
    ("norm_cross", "scale"): ("embed",),
    ("norm_cross", "bias"): ("embed",),
    ("each", "kernel"): ("embed", None, None),
    ("each", "bias"): (None, "embed"),
    ("horizons", "kernel"): ("embed", None, None),
    ("horizons", "bias"): (None, None),
    ("vector", "kernel"): ("embed", None),
    ("vector", "bias"): (None,),
    ("head", "output"): ("vocab", "embed"),
    ("head", "bias"): ("vocab",),
    ("head", "digits"): (None, None, None),
    ("head", "digits_bias"): (None, None),
    ("head", "digits_input"): (None, "embed"),
    ("head", "gaps"): (None, "embed"),
    ("head", "gaps_bias"): (None,),
    ("head", "pointer"): (None, "embed"),
    ("head", "pointer_bias"): (None,),
    ("head", "level"): (None, "embed"),
    ("head", "level_bias"): (None,),
    ("gates", "kernel"): (None, "embed"),
    ("gates", "bias"): (None,),
    ("gates", "discount"): (None,),
    ("gates", "share"): (None,),
    ("counts", "key"): (None,),
    ("counts", "code"): (None, None),
    ("counts", "count"): (None, None),
    ("counts", "shortest"): (None,),
    ("own_counts", "rows"): (None, None, None),
    ("own_counts", "shortest"): (None, None),
    ("own_counts", "records"): (),
}

STACKED = "blocks"  # path key of the stacked layers of a scan


def axes_of(path: tuple[Any, ...]) -> tuple[str | None, ...] | None:
    """Return the names of the axes of the parameter at a tree path; None if the path is not that of a parameter.

    Only the end of the path counts, so that copies of the parameters in other trees, such as an optimiser's moments,
    have the same names. Parameters of stacked layers have an additional first axis, that of the layers.
    """
    keys = [entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)]
    names = PARAMETER_AXES.get(tuple(keys[-2:]))  # type: ignore[arg-type]
    return (None, *names) if names is not None and STACKED in keys else names
