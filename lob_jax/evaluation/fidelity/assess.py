"""Assess generated flow by everything there is, from distances, in contexts too, to facts, tests and memorisation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from lob_jax.evaluation.fidelity.compare import compare
from lob_jax.evaluation.fidelity.contexts.comparison import compare_contexts
from lob_jax.evaluation.fidelity.contexts.table import context_table
from lob_jax.evaluation.fidelity.discriminator import discriminate, discriminator_table
from lob_jax.evaluation.fidelity.distances.opponents import TRAINING
from lob_jax.evaluation.fidelity.facts import compare_facts, facts_table
from lob_jax.evaluation.fidelity.impact import compare_impact, impact_table
from lob_jax.evaluation.fidelity.memorisation import measure_memorisation, memorisation_table
from lob_jax.evaluation.fidelity.networks.choice import network_tables, train_networks
from lob_jax.evaluation.fidelity.score import Need, available
from lob_jax.evaluation.fidelity.usefulness import measure_usefulness, usefulness_table
from lob_jax.statistics.flow import Flow

TABLES: dict[str, Callable[[dict[str, Any]], Table]] = {
    "impact": impact_table,
    "usefulness": usefulness_table,
    "memorisation": memorisation_table,
    "discriminator": discriminator_table,
}


def assess(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    training: Flow | None = None,
    splits: int = 50,
    resamples: int = 100,
    block: int = 100,
    networks: Sequence[str] = (),
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Assess generated flows; for `networks` see `train_networks`, for the other arguments `compare.compare`.

    The training flow, if given, is assessed like a generated one: what real flow of another time has is the scale for
    everything without a floor.

    Returns:
      Plain values as in JSON: those of `compare`; contexts, facts, impact, discriminator and usefulness, see
      `compare_contexts`, `compare_facts`, `compare_impact`, `discriminate` and `measure_usefulness`; networks, if any
      are named; and memorisation, see `measure_memorisation`, if the training flow has messages.

    Raises:
      InputError: see `compare`.
    """
    settings: dict[str, Any] = {"splits": splits, "seed": seed, "on_progress": on_progress}
    result = compare(real, generated, training=training, resamples=resamples, block=block, **settings)
    flows = dict(generated) if training is None else {**generated, TRAINING: training}
    result["contexts"] = compare_contexts(real, flows, resamples=resamples, **settings)
    result["facts"] = compare_facts(real, flows, seed=seed)
    if splits:
        result["impact"] = compare_impact(real, flows, **settings)
    result["discriminator"] = discriminate(real, flows, seed=seed, on_progress=on_progress)
    result["usefulness"] = measure_usefulness(real, flows, seed=seed, on_progress=on_progress)
    if networks:
        result["networks"] = train_networks(networks, real, flows, seed=seed, on_progress=on_progress)
    if training is not None and Need.MESSAGES in available(training):
        result["memorisation"] = measure_memorisation(training, real, generated, seed=seed)
    return result


def assessment_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return tables of what `assess` adds: the scores in contexts and facts by model, and the others for all models."""
    models = list(result["facts"]["agree"])
    shown = [context_table(result, model) for model in models]
    shown += [facts_table(result["facts"], model) for model in models]
    shown += [table(result[name]) for name, table in TABLES.items() if name in result]
    return shown + network_tables(result.get("networks", {}))
