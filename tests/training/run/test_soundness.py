import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lob_jax.training.run.soundness import loss_fault, state_fault
from lob_jax.training.step.layout import make_mesh, state_sharding
from lob_jax.training.step.optimizer import make_optimizer
from lob_jax.training.step.state import init_state


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf"), 7.4])
def test_a_loss_of_a_diverged_model_is_none_to_go_on_from(loss):
    assert "validation loss" in loss_fault(loss, vocab_size=40)


def test_a_loss_of_a_bad_model_is_one_to_go_on_from():
    assert loss_fault(7.3, vocab_size=40) is None  # a uniform guess has 3.69
    assert loss_fault(0.0, vocab_size=40) is None


@pytest.fixture(scope="module")
def state(model_config, train_config):
    """A state with an average, of arrays that four devices share."""
    optimizer = make_optimizer(train_config(), 12)
    mesh = make_mesh(jax.devices()[:4], fsdp=4)
    shapes = jax.eval_shape(lambda: init_state(model_config(), optimizer, seed=0, averaged=True))
    sharding = state_sharding(shapes, mesh)
    return jax.jit(lambda: init_state(model_config(), optimizer, seed=0, averaged=True), out_shardings=sharding)()


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("params", "its parameters are not finite"),
        ("opt_state", "its optimiser's moments are not finite"),
        ("average", "its average is not finite"),
    ],
)
def test_one_number_anywhere_is_enough(state, part, told):
    assert state_fault(state) is None
    leaves, tree = jax.tree.flatten(getattr(state, part))
    places = [index for index, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    for at, number in ((places[0], np.inf), (places[-1], np.nan)):
        last = leaves[at].at[(-1,) * leaves[at].ndim].set(number)
        changed = jax.tree.unflatten(tree, [*leaves[:at], last, *leaves[at + 1 :]])
        assert state_fault(state.replace(**{part: changed})) == told
