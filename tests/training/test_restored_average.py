"""Of a run that averages its parameters, what comes back to be used is the average: what was validated."""

import dataclasses

import jax
import numpy as np
import pytest

from lob_jax.training.run.checkpoint import Checkpoints, restore_best
from lob_jax.training.step.layout import make_mesh, replicated
from lob_jax.training.step.optimizer import make_optimizer
from lob_jax.training.step.state import init_state
from tests.training.run.test_checkpoint import meta


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [True, False])
def test_the_parameters_that_were_judged_come_back(tmp_path, model_config, train_config, averaged):
    model, optimizer = model_config(), make_optimizer(train_config(), 12)

    @jax.jit
    def fresh():
        state = init_state(model, optimizer, seed=0, averaged=True)
        return state.replace(average=jax.tree.map(lambda leaf: leaf + 1, state.average))

    state = jax.device_put(fresh(), replicated(make_mesh(jax.devices())))
    about = dataclasses.replace(meta(model, 10, 1.5, best_step=10), averaged=averaged)
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        checkpoints.save(state, meta=about)
    restored, _ = restore_best(tmp_path, model=model, vocabulary_hash="abc")
    expected = state.average if averaged else state.params
    assert all(map(np.array_equal, jax.tree.leaves(expected), jax.tree.leaves(restored)))
