"""LOB-Large, 24 x 1024 x 16: about 315M parameters, for several accelerators."""

import ml_collections

from lob_jax.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of LOB-Large."""
    config = base.get_config()
    config.model.d_model = 1024
    config.model.n_layers = 24
    config.model.n_heads = 16
    config.model.d_ff = 4096
    config.train.learning_rate = 3e-4
    return config
