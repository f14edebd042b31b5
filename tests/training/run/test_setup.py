import types

import jax
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.training.run.setup import StepClock, cut_validation, place_step, prepare_run, step_options, validate


@pytest.fixture(scope="module")
def prepare(model_config, train_config, training_data):
    """Return a function that prepares a run on some devices."""

    def make(devices=1, **changes):
        return prepare_run(
            model_config(),
            train_config(**changes),
            total_steps=12,
            validation=training_data().validation,
            seed=0,
            devices=jax.devices()[:devices],
            before=None,
        )

    return make


def test_only_a_gpu_is_asked_for_determinism(train_config):
    wanted, usual = train_config(deterministic=True), train_config()
    gpu, cpu = (types.SimpleNamespace(devices=np.array([types.SimpleNamespace(platform=on)])) for on in ("gpu", "cpu"))
    assert step_options(wanted, gpu) == {"xla_gpu_deterministic_ops": True}
    assert step_options(usual, gpu) == step_options(wanted, cpu) == {}
    with pytest.raises(InputError, match="jit if deterministic"):
        train_config(deterministic=True, parallel="pmap")


def test_validation_windows_are_cut_whole_and_filled_with_unscored_ones(windows):
    cut = cut_validation([windows(8, 1), windows(3, 2)], 4, fields=("tokens", "scored", "example"))
    assert [batch["tokens"].shape for batch in cut] == [(4, 13)] * 3
    np.testing.assert_array_equal(cut[2]["tokens"][:3], windows(3, 2)["tokens"])
    assert not cut[2]["scored"][3].any()
    assert sum(batch["scored"].sum() for batch in cut) == windows(8, 1)["scored"].sum() + windows(3, 2)["scored"].sum()


@pytest.mark.slow
def test_a_validation_does_not_depend_on_how_it_is_cut(prepare):
    params = jax.jit(prepare().initial)().params
    losses = [validate(prepare(devices, micro_batch=micro), params) for devices, micro in ((1, 8), (1, 4), (8, 1))]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)
    assert losses[0] == pytest.approx(np.log(40), rel=0.05)


def test_a_step_is_split_over_the_devices(prepare, windows):
    run = prepare(4, micro_batch=1, accumulation=2)
    placed = place_step(run, [windows(8, 0), windows(8, 1)])
    assert placed["tokens"].shape == (4, 4, 13)
    assert {shard.data.shape for shard in placed["tokens"].addressable_shards} == {(4, 1, 13)}
    np.testing.assert_array_equal(np.asarray(placed["example"]).ravel(), np.arange(16))
    whole = np.concatenate([windows(8, 0)["book"], windows(8, 1)["book"]])
    np.testing.assert_array_equal(np.asarray(placed["book"]).reshape(16, 13, 4), whole)


def test_the_clock_reads_means_and_leaves_out_what_came_before_a_restart(prepare, monkeypatch):
    now = iter([0.0, 100.0, 101.5, 104.0, 104.0, 104.0, 105.0, 105.0, 105.0, 106.0, 106.0, 106.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    monkeypatch.setattr("lob_jax.training.run.setup.flops_per_token", lambda model, context: 1000 * context)
    clock = StepClock(prepare(accumulation=2), peak_flops=1e9, expected_s=7.0)
    assert clock.step_s == 7.0
    clock.restart()
    clock.count()
    assert clock.step_s == 1.5
    clock.count()
    assert clock.step_s == 2.5
    tokens = 16 * 12
    assert clock.read() == pytest.approx({"step_s": 2.0, "tokens_per_s": tokens / 2, "mfu": tokens * 12_000 / 2 / 1e9})
    clock.count()
    assert clock.read()["step_s"] == 1.0
    clock.leave_out(0.25)
    clock.raise_peak(2e9)
    clock.raise_peak(1.5e9)
    clock.count()
    assert clock.read()["mfu"] == pytest.approx(tokens * 12_000 / 2e9 / 0.75)
