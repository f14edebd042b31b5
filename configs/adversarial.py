"""Next tokens, also from token embeddings that are perturbed to raise the loss: robust to small changes of the flow.

One step of gradient ascent finds the perturbation (fgm), so that a training step takes about three times as long.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that is trained adversarially."""
    config = sized.get_config(size)
    config.train.adversarial = "fgm"
    return config
