"""The latest tokens of a stream: the last heads, sizes and leading gaps, as a model reads them beside each token.

What an event repeats of those just before it, such as their side, is the first thing to know of a stream. Attention
would have to learn to look for these tokens, at places that change with the digits in between.
"""

from types import ModuleType
from typing import Any

import numpy as np

from lob_jax.tokens import vocabulary as v

# The ids of each family, first and end: heads of events with a side, sizes, leading gaps.
FAMILIES = ((v.CLASS_SIZE, v.CONTINUATION), (v.SIZE, v.TIME), (v.TIME, v.VOCAB_SIZE))
OF_EACH = 4
LATEST_TOKENS = len(FAMILIES) * OF_EACH  # those of one family after those of another, each from the newest
NO_TOKEN = v.PAD  # where there are not as many


def latest_along(tokens: np.ndarray) -> np.ndarray:
    """Return the latest tokens before each token and after the last, int16 [T+1, LATEST_TOKENS]."""
    tokens = np.asarray(tokens, np.int64)
    latest = np.full((len(tokens) + 1, len(FAMILIES), OF_EACH), NO_TOKEN, np.int16)
    for family, (first, end) in enumerate(FAMILIES):
        at = np.flatnonzero((tokens >= first) & (tokens < end))
        before = np.searchsorted(at, np.arange(len(tokens) + 1))  # how many of the family
        for k in range(min(OF_EACH, len(at))):
            latest[before > k, family, k] = tokens[at[before[before > k] - 1 - k]]
    return latest.reshape(-1, LATEST_TOKENS)


def with_token(latest_L: Any, token: Any, *, xp: ModuleType = np) -> Any:
    """Return the latest tokens after one more token, in the dtype of those before it, [LATEST_TOKENS].

    The same code runs on NumPy and on JAX arrays: pass the array module as `xp`.
    """
    before_FK = latest_L.reshape(len(FAMILIES), OF_EACH)
    shifted_FK = xp.concatenate([xp.full_like(before_FK[:, :1], token), before_FK[:, :-1]], axis=1)
    first_F1, end_F1 = (xp.asarray(bounds)[:, None] for bounds in zip(*FAMILIES, strict=True))
    return xp.where((token >= first_F1) & (token < end_F1), shifted_FK, before_FK).reshape(-1)
