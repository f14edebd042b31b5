"""The networks by the names that `score.networks` gives them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.table import Table

from lob_jax.evaluation.fidelity.measure import Progress
from lob_jax.evaluation.fidelity.networks.classifier import classifier_table, discriminate_by_network
from lob_jax.evaluation.fidelity.networks.predictor import predictive_score, predictor_table
from lob_jax.statistics.flow import Flow

NETWORKS: dict[str, Callable[..., dict[str, Any]]] = {
    "discriminator": discriminate_by_network,
    "predictor": predictive_score,
}
TABLES: dict[str, Callable[[Mapping[str, Any]], Table]] = {
    "discriminator": classifier_table,
    "predictor": predictor_table,
}
NAMES = tuple(NETWORKS)


def train_networks(
    names: Iterable[str],
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and test networks on real and generated flow; return their results, plain values as in JSON, by name.

    Args:
      names: of `NAMES`.
      real: held-out real flow.
      generated: flows by name.
      seed: of everything that is drawn.
      on_progress: called with what is being done, the number of steps that are done and that of all.
    """
    return {name: NETWORKS[name](real, generated, seed=seed, on_progress=on_progress) for name in names}


def network_tables(results: Mapping[str, Any]) -> list[Table]:
    """Return a rich table of each result of `train_networks`."""
    return [TABLES[name](result) for name, result in results.items()]
