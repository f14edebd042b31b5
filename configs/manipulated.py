"""Next tokens, a third of the windows with a manipulation spliced in: a model that has seen spoofed books before.

Spoofing, layering and quote stuffing are context; targets are what the real market did, so that the loss compares.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that is trained, and tested, on manipulated flow."""
    config = sized.get_config(size)
    config.data.augment.manipulation = 0.33
    config.evaluate.manipulated = ("spoofing", "layering", "stuffing")
    return config
