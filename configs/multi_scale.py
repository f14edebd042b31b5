"""Heads with different horizons: a quarter sees 16 events, a quarter 128, a quarter ten seconds, a quarter everything.

It costs as much as full attention, since the products are dense. A size follows after a colon: multi_scale.py:tiny.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model with heads of several horizons."""
    config = sized.get_config(size)
    config.model.attention.kind = "multi_scale"
    return config
