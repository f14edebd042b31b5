"""Next tokens, also in windows of synthetic flow: simulated, or that of the run at data.augment.synthetic_run."""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model that is also trained on simulated flow."""
    config = sized.get_config(size)
    config.data.augment.synthetic = 0.2
    return config
