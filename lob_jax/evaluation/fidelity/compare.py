"""Compare generated flow with real flow: all scores, their distances, intervals, floors and ratios."""

from collections.abc import Callable, Mapping
from typing import Any

from lob_jax.statistics.flow import Flow


def compare(
    real: Flow,
    generated: Mapping[str, Flow],
    *,
    training: Flow | None = None,
    splits: int = 50,
    resamples: int = 100,
    block: int = 100,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Compare flows by all scores.

    Args:
      real: held-out real flow.
      generated: the flows to compare with it, by name. If one has as many sequences as `real`, sequence i is taken to
        continue the same prompt as real sequence i, and the two are never compared with each other in the halves.
      training: real flow that the generators were fitted on: how far it is from `real` is a second reference.
      splits: random splits of the real sequences into two halves.
      resamples: bootstrap resamples for the intervals.
      block: messages per block of the divergence by horizon.
      seed: the seed of splits and resamples; the same seed gives the same result.
      on_progress: called with what is being done, the number of steps that are done and that of all.

    Returns:
      Plain values as in JSON, None for what is not defined:
      * package: version of lob_jax; splits, resamples, block, seed.
      * flows: for "real", each generated flow and "training" if given: sequences, messages, levels, and
        messages_per_sequence (min, median, max).
      * scores: by the score's name: label, unit, group, version, discrete, and models: by the flow's name `n_real` and
        `n_generated` (numbers of values), `reason` (why it is not defined, or None), and for each of "l1", "w1", "ks"
        value; low, high (resamples of whole sequences), low_values, high_values (resamples of single values); half
        (mean over splits of half A of real v half B of the flow); floor, floor_low, floor_high (mean and 95 % range
        over splits of half A v half B of real); and ratio (half / floor).
      * conditional: the same, for the conditional scores.
      * summary: by group ("lob_bench", "further", "conditional"), model and distance: scores (how many are defined),
        mean, median and iqm, each with value, low, high, low_values, high_values; half, floor, ratio (of the means).
      * divergence: by model: blocks (first message of each), scores (how many are defined), and mean over the scores of
        "lob_bench" of L1 of block j of the flow: value (v all of real), half, floor, floor_high (99 % of the splits),
        ratio; and by_score: the same for each score.
      * measures: see `measure.compare_measures`.
    """
    raise NotImplementedError
