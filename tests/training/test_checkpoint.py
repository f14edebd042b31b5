import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from lob_jax.errors import InputError
from lob_jax.training.checkpoint import (
    Checkpoints,
    Meta,
    package_versions,
    read_metas,
    refuse_mismatch,
    restore_best,
)
from lob_jax.training.layout import make_mesh, replicated
from lob_jax.training.optimizer import make_optimizer
from lob_jax.training.state import init_state


def meta(model, step, loss, best_step):
    return Meta(
        step=step,
        validation_loss=loss,
        identity={"model": dataclasses.asdict(model), "vocabulary_hash": "abc", "seed": 0},
        settings={"data": {"feed": "synthetic"}, "tokens": {"time_digits": None}},
        versions=package_versions(),
        early_stopping={"best": 1.5, "best_step": best_step, "strikes": 0},
        micro_batch=8,
        averaged=False,
    )


@pytest.fixture(scope="module")
def state(model_config, train_config):
    """A fresh state, on all devices."""
    mesh = make_mesh(jax.devices())
    optimizer = make_optimizer(train_config(), 12)
    return jax.jit(lambda: init_state(model_config(), optimizer, seed=0), out_shardings=replicated(mesh))()


@pytest.fixture(scope="module")
def saved(tmp_path_factory, model_config, state, training_data):
    """Six checkpoints with losses of which four are equal, each with one more batch read; the batch after each."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    following = {}

    @jax.jit
    def add(state, step):
        return state.replace(step=state.step + step, params=jax.tree.map(lambda leaf: leaf + step, state.params))

    with Checkpoints(folder, keep_best=3) as checkpoints:
        iterator = iter(training_data().batches)
        for step, loss in zip(range(10, 70, 10), (float("inf"), 1.5, 1.5, 1.5, 1.5, 6.0), strict=True):
            next(iterator)
            numbered = add(state, step)
            checkpoints.save(numbered, iterator, meta=meta(model_config(), step, loss, best_step=20))
            position = iterator.get_state()
            following[step] = next(iterator)["tokens"]
            iterator.set_state(position)
        steps = checkpoints.steps()
    return folder, steps, following


def arrays(state, sharding):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state)


def test_the_latest_and_the_best_stay_and_of_equals_the_earlier(saved):
    assert saved[1] == [20, 30, 40, 60]


def test_all_of_a_moment_comes_back_on_one_device(saved, state, training_data, model_config):
    folder, _, following = saved
    device = SingleDeviceSharding(jax.devices()[0])
    with Checkpoints(folder, keep_best=3) as checkpoints:
        latest = checkpoints.latest({"vocabulary_hash": "abc", "model": dataclasses.asdict(model_config())})
        iterator = iter(training_data().batches)
        restored = checkpoints.restore(60, arrays(state, device), iterator)
    assert latest == meta(model_config(), 60, 6.0, best_step=20)
    assert int(restored.step) == 60
    expected = jax.tree.map(lambda leaf: np.asarray(leaf + 60), state.params)
    assert all(map(np.array_equal, jax.tree.leaves(expected), jax.tree.leaves(restored.params)))
    assert np.array_equal(restored.key_data, state.key_data)
    assert {leaf.sharding for leaf in jax.tree.leaves(restored)} == {device}
    assert np.array_equal(next(iterator)["tokens"], following[60])


def test_the_best_parameters_come_back_alone(saved, state, model_config):
    params, about = restore_best(saved[0], model=model_config(), vocabulary_hash="abc")
    expected = jax.tree.map(lambda leaf: np.asarray(leaf + 20), state.params)
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    assert all(map(np.array_equal, jax.tree.leaves(expected), jax.tree.leaves(params)))
    assert (about.step, about.validation_loss) == (20, 1.5)
    assert about.settings["tokens"] == {"time_digits": None}


def test_another_vocabulary_or_model_is_refused_with_the_difference(saved, model_config):
    with pytest.raises(InputError) as caught:
        restore_best(saved[0], model=model_config(), vocabulary_hash="xyz")
    assert (caught.value.expected, caught.value.was) == ("vocabulary_hash = 'xyz'", "vocabulary_hash = 'abc'")
    with pytest.raises(InputError) as caught:
        restore_best(saved[0], model=model_config(d_model=32, norm="post"), vocabulary_hash="abc")
    assert caught.value.expected == "model.d_model = 32, model.norm = 'post'"
    assert caught.value.was == "model.d_model = 16, model.norm = 'pre'"
    with Checkpoints(saved[0], keep_best=3) as checkpoints, pytest.raises(InputError, match="seed = 1"):
        checkpoints.latest({"seed": 1})


def test_refusal_names_what_is_absent():
    refuse_mismatch({"a": {"b": 1}, "more": 2}, {"a": {"b": 1}}, where="here")
    with pytest.raises(InputError) as caught:
        refuse_mismatch({"a": {}}, {"a": {"b": 1}}, where="here")
    assert (caught.value.where, caught.value.expected, caught.value.was) == ("here", "a.b = 1", "a.b = 'absent'")


def test_a_save_that_a_kill_cut_short_is_no_checkpoint(saved, model_config, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved[0], folder)
    (folder / "70.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    assert max(read_metas(folder)) == 60
    with Checkpoints(folder, keep_best=3) as checkpoints:
        assert checkpoints.steps() == [20, 30, 40, 60]


def test_no_checkpoint_is_said_so(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="there is no checkpoint"):
            read_metas(folder)
    with Checkpoints(tmp_path / "new", keep_best=1) as checkpoints:
        assert checkpoints.latest({}) is None


def test_no_finite_loss_is_said_so(tmp_path, model_config, state, training_data):
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        about = meta(model_config(), 1, float("inf"), best_step=None)
        checkpoints.save(state, iter(training_data().batches), meta=about)
    with pytest.raises(InputError, match="finite validation loss"):
        restore_best(tmp_path, model=model_config(), vocabulary_hash="abc")


def test_meta_is_plain_json(model_config):
    about = meta(model_config(), 3, 0.1 + 0.2, best_step=3)
    assert Meta(**json.loads(json.dumps(dataclasses.asdict(about)))) == about
    assert set(about.versions) >= {"jax", "flax", "optax", "orbax-checkpoint", "grain"}
