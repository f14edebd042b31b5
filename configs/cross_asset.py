"""Two instruments in one model, each attending to the other's tokens that are earlier in time.

A window of one comes with the newest tokens of the other, so a step costs twice that of one instrument and a little
more. By default two simulated instruments; for real ones, --config.data.path=<a folder of two symbols' days>.
"""

import ml_collections

from configs import sized


def get_config(size: str = "base") -> ml_collections.ConfigDict:
    """Return the configuration of a model of two instruments."""
    config = sized.get_config(size)
    config.model.attention.cross_asset = True
    config.model.n_instruments = 2
    config.train.sample_events = 0
    return config
