import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging
from jax.sharding import SingleDeviceSharding

from lob_jax import later_keys
from lob_jax.errors import InputError
from lob_jax.training.run.checkpoint import (
    UNSETTLED,
    Checkpoints,
    Meta,
    package_versions,
    ranked,
    read_metas,
    restore_best,
    set_damaged_aside,
    steps_in,
)
from lob_jax.training.run.digests import DIGESTS, damage, seal
from lob_jax.training.run.identity import model_identity
from lob_jax.training.step.layout import make_mesh, replicated, state_sharding
from lob_jax.training.step.optimizer import make_optimizer
from lob_jax.training.step.state import abstract_params, init_state
from lob_jax.training.step.tasks import TASKS


def meta(model, step, loss, best_step=20, *, unsound=None, measure="these windows"):
    return Meta(
        step=step,
        validation_loss=loss,
        identity={"model": model_identity(model), "vocabulary_hash": "abc", "seed": 0},
        changeable={"train.clip": 1.0},
        rounding={"devices": "1 x cpu"},
        history=[{"step": 5, "changed": {"train.clip": [2.0, 1.0]}}],
        measure=measure,
        position={"windows_read": 8 * step, "windows_a_pass": 40},
        unsound=unsound,
        settings={"data": {"feed": "synthetic"}, "tokens": {"time_digits": None}},
        versions=package_versions(),
        early_stopping={"best": 1.5, "best_step": best_step, "strikes": 0, "step": step},
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
def saved(tmp_path_factory, model_config, state):
    """Six checkpoints with losses of which four are equal."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"

    @jax.jit
    def add(state, step):
        return state.replace(step=state.step + step, params=jax.tree.map(lambda leaf: leaf + step, state.params))

    with Checkpoints(folder, keep_best=3) as checkpoints:
        for step, loss in zip(range(10, 70, 10), (float("inf"), 1.5, 1.5, 1.5, 1.5, 6.0), strict=True):
            checkpoints.save(add(state, step), meta=meta(model_config(), step, loss))
        steps = checkpoints.steps()
    return folder, steps


def arrays(state, sharding):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state)


def test_the_latest_and_the_best_stay_and_of_equals_the_earlier(saved):
    assert saved[1] == [20, 30, 40, 60]


@pytest.mark.slow
def test_learned_weights_of_tasks_are_resumed_and_reach_no_model(tmp_path, model_config, train_config):
    heads = dataclasses.replace(model_config().heads, contrastive_size=4)
    model, optimizer = model_config(heads=heads), make_optimizer(train_config(), 12)
    state = init_state(model, optimizer, seed=0, learned_tasks=True)
    state.params[TASKS]["contrastive"] += 0.5
    with Checkpoints(tmp_path / "checkpoints", keep_best=3) as checkpoints:
        checkpoints.save(state, meta=meta(model, 4, 1.5))
        checkpoints.wait()
        restored = checkpoints.restore(4, arrays(state, SingleDeviceSharding(jax.devices()[0])))
    assert float(restored.params[TASKS]["contrastive"]) == 0.5 and float(restored.params[TASKS]["token"]) == 0.0
    params, _ = restore_best(tmp_path / "checkpoints", model=model, vocabulary_hash="abc")
    assert jax.tree.structure(params) == jax.tree.structure(abstract_params(model))


def test_all_of_a_moment_comes_back_on_one_device(saved, state, model_config):
    folder, _ = saved
    device = SingleDeviceSharding(jax.devices()[0])
    with Checkpoints(folder, keep_best=3) as checkpoints:
        latest, remarks = checkpoints.newest_sound({"vocabulary_hash": "abc", "model": model_identity(model_config())})
        restored = checkpoints.restore(60, arrays(state, device))
    assert latest == meta(model_config(), 60, 6.0) and remarks == []
    assert int(restored.step) == 60
    expected = jax.tree.map(lambda leaf: np.asarray(leaf + 60), state.params)
    assert all(map(np.array_equal, jax.tree.leaves(expected), jax.tree.leaves(restored.params)))
    assert np.array_equal(restored.key_data, state.key_data)
    assert {leaf.sharding for leaf in jax.tree.leaves(restored)} == {device}


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
    assert (caught.value.expected, caught.value.was) == ("vocabulary_hash = 'abc'", "vocabulary_hash = 'xyz'")
    with pytest.raises(InputError) as caught:
        restore_best(saved[0], model=model_config(d_model=32, norm="post"), vocabulary_hash="abc")
    assert [line.strip() for line in caught.value.expected.splitlines()] == ["model.d_model = 16", "model.norm = 'pre'"]
    assert [line.strip() for line in caught.value.was.splitlines()] == ["model.d_model = 32", "model.norm = 'post'"]
    assert "with --config.model.d_model=16 --config.model.norm=pre" in caught.value.remedy
    with Checkpoints(saved[0], keep_best=3) as checkpoints, pytest.raises(InputError, match="seed = 1"):
        checkpoints.newest_sound({"seed": 1})
    with pytest.raises(InputError, match="data.volatility_regimes = 2"):
        restore_best(saved[0], model=model_config(), vocabulary_hash="abc", data={"volatility_regimes": 2})


def test_parameters_are_taken_by_a_model_that_computes_otherwise(saved, state, model_config):
    """In another dtype, on another kernel, with less kept for the backward pass."""
    attention = dataclasses.replace(model_config().attention, backend="xla")
    other = model_config(dtype="bfloat16", remat="full", dropout=0.0, attention=attention)
    params, _ = restore_best(saved[0], model=other, vocabulary_hash="abc")
    assert np.array_equal(params["head"]["bias"], np.asarray(state.params["head"]["bias"] + 20))


def test_a_save_that_a_kill_cut_short_is_no_checkpoint(saved, model_config, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved[0], folder)
    (folder / "70.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    assert max(read_metas(folder)) == 60
    with Checkpoints(folder, keep_best=3) as checkpoints:
        assert checkpoints.steps() == [20, 30, 40, 60]


def test_reading_warns_of_nothing_and_leaves_logging_as_it_was(saved, caplog):
    """Orbax warns, through absl, that a manager for reading only will write nothing."""
    level = logging.get_verbosity()
    caplog.set_level(logging.converter.absl_to_standard(logging.WARNING), logger="absl")
    logging.set_verbosity(logging.WARNING)
    try:
        read_metas(saved[0])
        assert logging.get_verbosity() == logging.WARNING and caplog.records == []
    finally:
        logging.set_verbosity(level)


def test_no_checkpoint_is_said_so(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="there is no checkpoint"):
            read_metas(folder)
    with Checkpoints(tmp_path / "new", keep_best=1) as checkpoints:
        assert checkpoints.newest_sound({}) == (None, [])


def test_no_finite_loss_is_said_so(tmp_path, model_config, state):
    with Checkpoints(tmp_path, keep_best=1) as checkpoints:
        checkpoints.save(state, meta=meta(model_config(), 1, float("inf"), best_step=None))
    with pytest.raises(InputError, match="finite validation loss"):
        restore_best(tmp_path, model=model_config(), vocabulary_hash="abc")


def test_a_checkpoint_of_another_version_is_refused(saved, tmp_path):
    step = tmp_path / "checkpoints" / "60"
    shutil.copytree(saved[0] / "60", step)
    path = step / "meta" / "metadata"
    path.write_text(path.read_text().replace('"averaged"', '"mean"'))
    seal(step, unsettled=UNSETTLED)
    with pytest.raises(InputError, match="another version") as caught:
        read_metas(step.parent)
    assert (caught.value.expected, caught.value.was) == (
        "everything that this version stores of a run, averaged",
        "without it, and with mean",
    )
    with pytest.raises(InputError, match="another version"), Checkpoints(step.parent, keep_best=3):
        pass


def test_meta_is_plain_json(model_config):
    about = meta(model_config(), 3, 0.1 + 0.2, best_step=3)
    assert Meta(**json.loads(json.dumps(dataclasses.asdict(about)))) == about
    assert set(about.versions) >= {"jax", "flax", "optax", "orbax-checkpoint", "grain"}


def damaged_somewhere(step, random):
    """Flip a bit of a file of a checkpoint, cut it short or remove it; return its name within the checkpoint."""
    names = [path for path in sorted(step.rglob("*")) if path.is_file() and path.name != "commit_success.txt"]
    path = names[random.integers(len(names))]
    content = bytearray(path.read_bytes())
    how = random.integers(3) if content and path.name != "_CHECKPOINT_METADATA" else 1
    if how == 0:
        content[random.integers(len(content))] ^= 1 << random.integers(8)
    if how == 1:
        content = content[: random.integers(len(content))] if content else bytearray(b"more")
    path.unlink() if how == 2 else path.write_bytes(content)
    return str(path.relative_to(step))


def test_every_damage_is_noticed_named_and_passed_over(saved, tmp_path, model_config, state):
    """Fifty checkpoints with a flipped bit, cut short or with a file less."""
    random, folder = np.random.default_rng(0), tmp_path / "run" / "checkpoints"
    assert [damage(saved[0] / str(step)) for step in saved[1]] == [None] * 4
    for _ in range(50):
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(saved[0], folder)
        name = damaged_somewhere(folder / "60", random)
        (remark,) = set_damaged_aside(folder)
        assert "step 60 is damaged" in remark
        assert name in remark or name == DIGESTS  # where a changed digest or name tells of the file that it is of
        assert steps_in(folder) == [20, 30, 40] and steps_in(folder.parent / "damaged") == [60]
    with Checkpoints(folder, keep_best=3) as checkpoints:
        assert checkpoints.newest_sound({"seed": 0})[0].step == 40
    damaged_somewhere(folder / "20", random)  # the best one
    params, about = restore_best(folder, model=model_config(), vocabulary_hash="abc")
    assert about.step == 30
    assert np.array_equal(params["head"]["bias"], np.asarray(state.params["head"]["bias"] + 30))


def test_what_orbax_notes_of_itself_decides_nothing(saved, tmp_path, model_config, state):
    """Its file is written beside all else, so it has no digest; a restore does not depend on what it says."""
    shutil.copytree(saved[0] / "20", tmp_path / "checkpoints" / "20")
    (tmp_path / "checkpoints" / "20" / UNSETTLED[0]).write_text('{"item_handlers": {"state": "no.such.Handler"}}')
    params, _ = restore_best(tmp_path / "checkpoints", model=model_config(), vocabulary_hash="abc")
    assert np.array_equal(params["head"]["bias"], np.asarray(state.params["head"]["bias"] + 20))


def test_when_every_checkpoint_is_damaged_nothing_is_moved(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path / "checkpoints")
    for step in saved[1]:
        (tmp_path / "checkpoints" / str(step) / DIGESTS).write_text("{}")
    with pytest.raises(InputError, match="every checkpoint is damaged"):
        set_damaged_aside(tmp_path / "checkpoints")
    assert steps_in(tmp_path / "checkpoints") == saved[1]


def test_a_file_that_changed_back_is_whole_again_and_a_second_damage_has_a_place_of_its_own(tmp_path):
    folder = tmp_path / "checkpoints" / "7"
    folder.mkdir(parents=True)
    for time in ("first", "second"):
        folder.mkdir(exist_ok=True)
        (folder / "array").write_text(time)
        seal(folder, unsettled=["about"])
        assert "about cannot be read" in damage(folder)
        (folder / "about").write_text('{"when": 5}')
        assert damage(folder) is None
        (folder / "about").write_text('{"when": 5')
        assert "about cannot be read" in damage(folder)
        (folder / "about").write_text('{"when": 5}')
        (folder / "array").write_text(time[::-1])
        shutil.copytree(folder, tmp_path / "checkpoints" / "5", dirs_exist_ok=True)
        (tmp_path / "checkpoints" / "5" / "array").write_text(time)
        assert len(set_damaged_aside(folder.parent)) == 1
    assert sorted(path.name for path in (tmp_path / "damaged").iterdir()) == ["7", "7.2"]


def test_a_later_run_keeps_the_best_of_the_earlier_one(saved, tmp_path, model_config, state):
    """What Orbax was told of losses it forgets at a restart."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved[0], folder)
    for step, loss in ((70, 9.0), (80, 1.4), (90, float("inf"))):
        with Checkpoints(folder, keep_best=3) as checkpoints:
            checkpoints.save(state, meta=meta(model_config(), step, loss))
    assert steps_in(folder) == [20, 30, 80, 90]


@pytest.mark.slow
def test_a_state_that_is_not_finite_is_never_the_one_gone_on_from(tmp_path, model_config, state):
    """Whoever saves it, and whatever they say of it; the newest good one stays, however many bad ones follow."""
    folder, head = tmp_path / "checkpoints", state.params["head"]
    bad = state.replace(params={**state.params, "head": {**head, "bias": head["bias"].at[3].set(jnp.nan)}})
    with Checkpoints(folder, keep_best=1) as checkpoints:
        for step, loss in ((1, 1.5), (2, 1.6)):
            assert checkpoints.save(state, meta=meta(model_config(), step, loss)).unsound is None
        for step in (3, 4):
            about = checkpoints.save(bad, meta=meta(model_config(), step, 1.0))
            assert about.unsound == "its parameters are not finite"
        assert checkpoints.steps() == [1, 2, 4]
    assert read_metas(folder)[4].unsound == about.unsound
    with Checkpoints(folder, keep_best=1) as checkpoints:
        latest, (remark,) = checkpoints.newest_sound({"seed": 0})
        assert latest.step == 2 and "step 4 is skipped, since its parameters are not finite" in remark
        assert checkpoints.steps() == [1, 2] == steps_in(folder) and steps_in(tmp_path / "diverged") == [4]
        checkpoints.save(state, meta=meta(model_config(), 4, 1.2))
    assert restore_best(folder, model=model_config(), vocabulary_hash="abc")[1].step == 4


def test_where_every_checkpoint_has_diverged_the_run_begins_anew(tmp_path, model_config, state):
    for _ in range(2):
        with Checkpoints(tmp_path / "checkpoints", keep_best=2) as checkpoints:
            checkpoints.save(state, meta=meta(model_config(), 3, 9.0, unsound="its validation loss is nan"))
            with pytest.raises(InputError, match="another run"):
                checkpoints.newest_sound({"seed": 1})
            assert checkpoints.steps() == [3]  # a command of another run moves nothing
            latest, remarks = checkpoints.newest_sound({"seed": 0})
            assert latest is None and remarks[-1].endswith("the run starts from scratch") and checkpoints.steps() == []
    assert sorted(path.name for path in (tmp_path / "diverged").iterdir()) == ["3", "3.2"]


def test_losses_of_other_windows_are_not_compared(model_config):
    def order(*told):
        return ranked({step: meta(model_config(), step, loss, **more) for step, loss, more in told})

    old, bad = {"measure": "others"}, {"unsound": "it is not finite"}
    assert order((1, 3.0, {}), (2, 1.0, {}), (3, 1.0, {}), (4, 0.1, bad)) == [2, 3, 1, 4]
    assert order((1, 1.0, old), (2, 2.0, old), (3, 5.0, {}), (4, float("inf"), {})) == [3, 1, 2, 4]
    # Before the first validation on new windows, those on the old ones still tell which is the best.
    assert order((1, 1.0, old), (2, 0.5, old), (3, float("inf"), {})) == [2, 1, 3]


def test_a_place_that_is_taken_is_said_so(saved, tmp_path, model_config):
    shutil.copytree(saved[0], tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "60" / DIGESTS).write_text("{}")
    (tmp_path / "damaged").write_text("a file")
    with pytest.raises(InputError, match="cannot be set aside"):
        set_damaged_aside(tmp_path / "checkpoints")
    assert steps_in(tmp_path / "checkpoints") == [20, 30, 40, 60]


@pytest.mark.parametrize(("devices", "layout"), [(4, {}), (8, {"fsdp": 8}), (4, {"fsdp": 2, "tensor": 2}), (1, {})])
def test_a_state_comes_back_on_another_mesh(saved, state, devices, layout):
    mesh = make_mesh(jax.devices()[:devices], **layout)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    wanted = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        state_sharding(shapes, mesh),
    )
    with Checkpoints(saved[0], keep_best=3) as checkpoints:
        restored = checkpoints.restore(60, wanted)
    expected = jax.tree.map(lambda leaf: np.asarray(leaf + 60), state.params)
    assert all(map(np.array_equal, jax.tree.leaves(expected), jax.tree.leaves(restored.params)))
    assert [leaf.sharding for leaf in jax.tree.leaves(restored)] == [leaf.sharding for leaf in jax.tree.leaves(wanted)]


def test_a_checkpoint_names_the_version_that_wrote_it(saved):
    assert {meta.versions["lob_jax"] for meta in read_metas(saved[0]).values()} == {later_keys.version()}
