"""Two instruments in one model, each attending to the other's tokens that are earlier in time.

A window of one comes with the newest tokens of the other, so a step costs twice that of one instrument and a little
more. By default two simulated instruments, which know nothing of each other; for real ones name feed, path and
symbols: --config.data.feed=databento --config.data.path=days --config.data.symbols=ESH4,NQH4
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
