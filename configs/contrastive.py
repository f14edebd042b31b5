"""Next tokens, and a contrastive loss: windows that end in the same regime are pulled together, others pushed apart.

The regime is not an input here, since there would be nothing to learn. With train.contrastive_views=augmented, two
views of a window are pulled together instead.
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model with a contrastive loss over regimes."""
    config = sized.get_config(size)
    config.model.heads.contrastive_size = 64
    config.model.regime = "none"
    return config
