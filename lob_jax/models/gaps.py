"""Log-normal components of the leading code of a gap in time, added up with its softmax.

A row for each code learns nothing from its neighbours but by their shared parts, and gaps span nine orders of
magnitude. So a few components say where on the logarithmic scale the next gap lies: each has an amplitude, a mean and a
deviation, which depend on the network's state. A component gives a code its density, up to a constant, at the middle of
the code's cell, times the cell's width, both on the logarithmic scale: a log-normal mixture, as for the times of a
temporal point process (Shchur et al., 2020), made discrete. The logit of a code becomes the log-sum-exp of its own and
of the components, as with the candidates of `models.pointer`: likelihoods compare with those of a plain softmax.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.tokens import vocabulary as v

PARTS = 3  # of a component: log amplitude, mean, log deviation
RANGE_NS = (1e4, 2e9)  # between which means start, at equal distances
INITIAL_SHARE = 0.02  # of all components together, before training, if logits sum to one
MOST_LOG_DEVIATION = 3.0  # either way


def _cells() -> tuple[np.ndarray, np.ndarray]:
    """Return the middle of each code's cell and the logarithm of its width, on the logarithmic scale, float32 [1000].

    A code stands for all gaps that begin with its leading digits. The cell of 0 is that of 1/2.
    """
    parts = (v.split_number_code(code) for code in range(v.CLASS_SIZE))
    edges = [(max(lead, 0.5) * 10.0**more, (lead + 1) * 10.0**more) for lead, more in parts]
    low, high = np.log(np.array(edges)).T
    return ((low + high) / 2).astype(np.float32), np.log(high - low).astype(np.float32)


_MIDDLE, _LOG_WIDTH = _cells()


def initial_bias(components: int) -> np.ndarray:
    """Return the biases of the parts of all components, [K * PARTS]: means at equal distances, deviations of 1."""
    mean_K = np.linspace(*np.log(RANGE_NS), components)
    amplitude_K = np.full(components, np.log(INITIAL_SHARE / components))
    return np.stack([amplitude_K, mean_K, np.zeros(components)], axis=1).reshape(-1)


def add_components(logits_BTV: jax.Array, parts_BTN: jax.Array) -> jax.Array:
    """Return log(exp(logit) + sum of the components) for the codes of a gap, and the other logits as they are.

    Args:
      logits_BTV: float32 logits of all tokens.
      parts_BTN: float32 parts of all components, K * PARTS.
    """
    terms = [logits_BTV[..., v.TIME :]]
    for part_BTP in jnp.split(parts_BTN, parts_BTN.shape[-1] // PARTS, axis=-1):
        amplitude_BT1, mean_BT1, deviation_BT1 = jnp.split(part_BTP, PARTS, axis=-1)
        deviation_BT1 = jnp.clip(deviation_BT1, -MOST_LOG_DEVIATION, MOST_LOG_DEVIATION)
        far_BTC = (_MIDDLE - mean_BT1) * jnp.exp(-deviation_BT1)
        terms.append(amplitude_BT1 - deviation_BT1 + _LOG_WIDTH - 0.5 * far_BTC * far_BTC)
    most_BTC = jax.lax.stop_gradient(functools.reduce(jnp.maximum, terms))
    total_BTC = most_BTC + jnp.log(functools.reduce(jnp.add, [jnp.exp(term - most_BTC) for term in terms]))
    return jnp.concatenate([logits_BTV[..., : v.TIME], total_BTC], axis=-1)
