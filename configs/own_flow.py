"""Trained further on flow of its own: it reads events that it has drawn itself, and learns what the market did next.

It starts from a trained run: pass --config.train.init=RUN. The learning rate and the number of steps are for that.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that is trained on its own flow."""
    config = sized.get_config(size)
    config.data.augment.own_flow = 0.5
    config.train.steps = 2_000
    config.train.learning_rate = config.train.learning_rate / 4
    return config
