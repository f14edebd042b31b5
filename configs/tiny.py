"""About a million parameters, for a laptop CPU: the synthetic feed to generated events in five minutes.

Expect a test loss of some 5 bits a token below uniform after 200 steps; it shows the road, not the destination.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Return the configuration of the demo."""
    config = base.get_config()
    config.data.synthetic_days = 3
    config.data.synthetic_events = 20_000
    config.data.embargo_events = 160
    config.tokens.time_digits = 5
    config.model.d_model = 64
    config.model.n_layers = 3
    config.model.n_heads = 4
    config.model.d_ff = 256
    config.model.max_seq_length = 256
    config.model.book_state = True
    config.model.dtype = "float32"
    config.train.accumulation = 1
    config.train.batch_size = 16
    config.train.steps = 300
    config.train.warmup_steps = 30
    config.train.learning_rate = 2e-3
    config.train.validate_every = 50
    config.train.validation_windows = 64
    config.evaluate.direction_events = 500
    config.generate.paths = 2
    config.generate.events = 200
    return config
