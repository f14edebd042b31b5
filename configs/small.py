"""LOB-Small, 6 x 512 x 8: about 25.0M parameters, for one GPU."""

import ml_collections

from lob_jax.configs import base


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of LOB-Small."""
    config = base.get_config()
    config.model.d_model = 512
    config.model.n_layers = 6
    config.model.n_heads = 8
    config.model.d_ff = 2048
    return config
