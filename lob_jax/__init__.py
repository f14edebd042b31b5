"""A limit order book as a language: feeds, books, tokens, transformers, generation.

The names below are what a notebook needs. Each is imported when it is first asked for: `import lob_jax` itself imports
no other module, and no JAX.
"""

import importlib
from typing import Any

__version__ = "0.2.0"  # pyproject.toml reads it here

_SECTIONS = {  # public names, and where each is defined: "module:name"
    "A day of market data": {
        "load_incremental_data": "feeds.load:load_incremental_data",
        "MarketDay": "book.day:MarketDay",
        "reconstruct_book_states": "book.replay:replay",
        "BookStates": "book.replay:BookStates",
        "depth_figure": "figures.day:depth_figure",
    },
    "Tokens": {
        "LOBTokenizer": "tokens.exact:ExactTokenizer",
        "CompactTokenizer": "tokens.compact:CompactTokenizer",
    },
    "Records and training": {
        "get_config": "runs.load:get_config",
        "prepare": "runs.records:prepare",
        "open_records": "data.records.builder:open_records",
        "TokenBookDataset": "data.windows.dataset:TokenBookDataset",
        "train": "runs.training:train",
    },
    "A trained run": {
        "load_run": "runs.load:load_run",
        "Run": "runs.load:Run",
        "evaluate": "runs.scoring:evaluate",
        "score": "runs.scoring:score",
        "EventScores": "evaluation.likelihood.event_scores:EventScores",
        "generate": "runs.generation:generate",
        "SamplingConfig": "generation.settings:SamplingConfig",
        "Order": "generation.settings:Order",
        "Paths": "runs.generation:Paths",
        "check_paths": "runs.generation:check_paths",
        "forecast": "generation.fan:fan",
        "Fan": "generation.fan:Fan",
        "fan_figure": "figures.fan:fan_figure",
        "visualize_attention": "runs.attention:visualize_attention",
    },
    "A model as a service": {
        "LOBTransformerServer": "serving.server:LOBTransformerServer",
        "Client": "serving.client:Client",
    },
    "Fidelity of generated flow": {
        "compare_flows": "evaluation.fidelity.compare:compare",
        "compare_measures": "evaluation.fidelity.measure:compare_measures",
        "compare_facts": "evaluation.fidelity.facts:compare_facts",
        "compare_impact": "evaluation.fidelity.impact:compare_impact",
        "discriminate": "evaluation.fidelity.discriminator:discriminate",
        "measure_usefulness": "evaluation.fidelity.usefulness:measure_usefulness",
        "measure_memorisation": "evaluation.fidelity.memorisation:measure_memorisation",
        "Flow": "statistics.flow:Flow",
        "flow_of_spans": "statistics.flow:flow_of_spans",
        "flow_of_paths": "statistics.flow:flow_of_paths",
    },
    "Parts": {
        "ModelConfig": "models.config:ModelConfig",
        "LOBTransformer": "models.transformer:LOBTransformer",
        "ConditionalLOBTransformer": "models.transformer:LOBTransformer",  # ModelConfig.regime conditions it
        "LOBEmbeddings": "models.embeddings:Embeddings",
        "TransformerBlock": "models.transformer:TransformerBlock",
        "PredictionHead": "models.heads:PredictionHead",
        "LOBMetrics": "evaluation.likelihood.metrics:LOBMetrics",
        "InputError": "errors:InputError",
    },
}
_HOMES = {name: home for section in _SECTIONS.values() for name, home in section.items()}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from where it is defined."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, defined = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), defined)
    globals()[name] = value  # the next time it is found without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
