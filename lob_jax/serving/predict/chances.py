"""The probability with which generation draws each token next, at temperature 1 and without truncation."""

import numpy as np

from lob_jax.generation.host.draw import CLASSES, Masked, Sampler, Scores, Scratch, class_weights, inside
from lob_jax.generation.host.state import Given, Paths
from lob_jax.generation.host.step import masks_of
from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v


@in_place
def write_chances(
    paths: Paths, given: Given, token_B: np.ndarray, logit_BV: np.ndarray, share_BV: np.ndarray, chance_BV: np.ndarray
) -> None:
    """Write the probability of each next token, where a path has just been advanced.

    Args:
      paths: the paths; not changed.
      given: what is the same for all paths; its scratch memory is.
      token_B: int64 [B], the tokens by which they were advanced; PAD for none.
      logit_BV: float32 [B, V], the logits after these tokens.
      share_BV: float32 [B, V], exp(logit - the greatest).
      chance_BV: float64 [B, V], filled.
    """
    for path in range(len(token_B)):
        if token_B[path] != v.PAD:
            grammar, book = masks_of(paths, given, path)
            scores = Scores(logit_BV[path], share_BV[path], share_BV[path])
            _write(given.scratch, given.sampler, scores, grammar, book, chance_BV[path])


@inner
def _write(
    scratch: Scratch, sampler: Sampler, scores: Scores, grammar: Masked, book: Masked, chance_V: np.ndarray
) -> None:
    """Write the probability of a token's class times that of the token within the class, see `draw.sample`."""
    chance_V[:] = 0
    class_weights(scratch, sampler, scores, grammar, book)
    total = scratch.class_weight.sum()
    for of in range(CLASSES):
        if scratch.class_weight[of] > 0:
            count = inside(scratch, scores, book, of)
            of_class = scratch.class_weight[of] / total / scratch.weight[:count].sum()
            for k in range(count):
                chance_V[scratch.token[k]] = of_class * scratch.weight[k]
