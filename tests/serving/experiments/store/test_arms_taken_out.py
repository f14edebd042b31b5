"""Challengers that were taken out of a paired experiment have no scores from then on."""

import numpy as np

from lob_jax.serving.experiments.store.store import Store
from tests.serving.experiments.store.made import EXPERIMENT, outcome


def test_blocks_have_nothing_of_an_arm_that_lacks_scores_of_some_of_their_events(url):
    store = Store(url)
    store.create(EXPERIMENT)
    store.assign(EXPERIMENT, "AAPL 1", at_s=1.0)
    for name, arms in enumerate([("control", "new", "wide")] * 4 + [("control", "wide")] * 2 + [("control",)] * 2):
        recorded = store.record(EXPERIMENT, outcome(str(name), arms=arms), at_s=1.0)
        assert set(recorded.nats) == set(arms)
    kept = store.kept(EXPERIMENT)
    nothing = [[False, False, False], [False, True, False], [False, True, True]]  # three blocks of ten events
    assert np.isnan(kept.nats_BA).tolist() == np.isnan(kept.brier_BA).tolist() == nothing
    assert (kept.nats_BA[:, 0] == 0).all()
    store.close()
