"""Two instruments in one model; each attends to the other's tokens that are earlier in time.

Each window of one instrument comes with the newest tokens of the other, so a step costs slightly more than twice that
of one instrument. By default the two instruments are simulated independently of each other; for real ones, pass feed,
path and symbols: --config.data.feed=databento --config.data.path=days --config.data.symbols=ESH4,NQH4
"""

import ml_collections

from lob_jax.configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model of two instruments."""
    config = sized.get_config(size)
    config.data.symbols = "SYNA,SYNB"
    config.model.attention.cross_asset = True
    config.model.n_instruments = 2
    config.train.sample_events = 0
    return config
