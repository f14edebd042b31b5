import dataclasses
import functools
import itertools
import math

import jax
import numpy as np
import optax
import pytest

from lob_jax.figures.learning_rate import range_figure
from lob_jax.training import probe
from lob_jax.training.probe import Overfitting, RangeTest, Rates
from lob_jax.training.run.setup import compile_train_step, place_step, prepare_run
from lob_jax.training.step.optimizer import decay_mask
from lob_jax.training.step.state import NOTHING_MEASURED, init_state


@pytest.fixture
def make_run(model_config, train_config, training_data):
    """Return a function that makes a run of some steps on one device."""

    def make(steps=12, validation=None, **changes):
        return prepare_run(
            model_config(dropout=0.0),
            train_config(**changes),
            total_steps=steps,
            validation=training_data().validation if validation is None else validation,
            seed=0,
            devices=jax.devices()[:1],
            before=None,
        )

    return make


def rising(run, lowest, highest):
    rate = probe.rate_of_step(lowest, highest, run.total_steps)
    return probe.with_rising_rate(run, rate, seed=0, measured=NOTHING_MEASURED), rate


def test_the_rate_rises_by_the_same_factor_each_step():
    rate = probe.rate_of_step(1e-4, 1e-1, 4)
    assert [rate(step) for step in range(4)] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])


@pytest.mark.slow
def test_a_rising_rate_is_what_the_optimiser_would_do_with_it(make_run, windows):
    """Compared with AdamW with that rate: clipping and weight decay are those of the configuration."""
    plain = make_run(steps=4, weight_decay=3.0, clip=0.05, warmup_steps=2, learning_rate=0.7)
    run, rate = rising(plain, 1e-3, 1e-1)
    batch = place_step(run, [windows(8)])
    state, rates = jax.jit(run.initial)(), []
    for _ in range(4):
        state, metrics = run.train_step(state, batch)
        rates.append(metrics["learning_rate"].item())
    assert rates == pytest.approx([1e-3, 1e-3 * 100 ** (1 / 3), 1e-3 * 100 ** (2 / 3), 1e-1], rel=1e-5)

    adamw = optax.adamw(rate, b1=0.9, b2=0.95, weight_decay=3.0, mask=decay_mask)
    direct = optax.chain(optax.clip_by_global_norm(0.05), adamw)
    initial = functools.partial(init_state, run.model.config, direct, seed=0)
    wanted = compile_train_step(run.model, run.config, direct, rate, initial, mesh=run.mesh)
    expected = jax.jit(initial)()
    for _ in range(4):
        expected, _ = wanted(expected, batch)
    for one, other in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


@pytest.mark.slow
def test_a_range_test_takes_real_steps_until_its_end(make_run, training_data):
    run, rate = rising(make_run(steps=12, batch_size=8, accumulation=2, micro_batch=8), 1e-5, 1e-3)
    seen, data = [], training_data()
    steps = probe.grouped(data.batches(data.start), 2)
    test = probe.range_test(
        run, steps, rate=rate, smoothing=0.5, stop_factor=2.0, on_step=lambda step, loss: seen.append((step, loss))
    )
    assert test.ended == "the highest rate was reached"
    assert test.rates == pytest.approx(np.geomspace(1e-5, 1e-3, 12))
    assert seen == list(enumerate(test.losses, start=1))
    assert test.smoothed == probe.smooth(test.losses, 0.5)
    assert len(set(test.losses)) == 12  # different windows each time
    assert test.losses[0] == pytest.approx(np.log(40), rel=0.2)


@pytest.mark.slow
def test_a_range_test_ends_where_the_loss_rises(make_run, windows):
    run, rate = rising(make_run(steps=40), 1e-4, 1e3)
    test = probe.range_test(run, itertools.repeat([windows(8)]), rate=rate, smoothing=0.2, stop_factor=1.5)
    assert test.ended == "the smoothed loss rose to 1.5 times its lowest"
    assert len(test.rates) == len(test.losses) == len(test.smoothed) < 40
    assert test.smoothed[-1] > 1.5 * min(test.smoothed)
    assert all(loss <= 1.5 * min(test.smoothed[: k + 1]) for k, loss in enumerate(test.smoothed[:-1]))


@pytest.mark.slow
def test_a_range_test_ends_where_the_loss_is_not_finite(make_run, windows):
    good, bad = windows(8), windows(8)
    bad["book"][0, 0] = np.nan
    run, rate = rising(make_run(steps=12), 1e-5, 1e-3)
    test = probe.range_test(run, [[good], [good], [bad], [good]], rate=rate, smoothing=0.5, stop_factor=2.0)
    assert test.ended == "the loss or its gradient was no longer finite"
    assert len(test.losses) == 2
    assert np.isfinite(test.smoothed).all()


def test_a_loss_whose_gradient_is_not_finite_does_not_count(make_run, windows, monkeypatch):
    monkeypatch.setattr(probe, "compiled", lambda run: run)
    skipped = iter([0, 1])
    run = dataclasses.replace(
        make_run(steps=2), train_step=lambda state, batch: (state, {"loss": 2.0, "skipped_in_row": next(skipped)})
    )
    first, second = probe.losses_of(run, itertools.repeat([windows(8)]))
    assert first == 2.0 and math.isnan(second)


def test_batches_are_grouped_in_turn():
    assert list(probe.grouped(iter(range(7)), 3)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_the_running_average_has_no_bias_at_its_start():
    assert probe.smooth([5.0] * 4, 0.9) == pytest.approx([5.0] * 4)
    assert probe.smooth([1.0, 2.0, 4.0], 0.5) == pytest.approx([1.0, 1.25 / 0.75, 2.625 / 0.875])
    assert probe.smooth([1.0, 2.0, 4.0], 0.0) == (1.0, 2.0, 4.0)


def curve(losses):
    rates = np.geomspace(1e-5, 1e-1, len(losses))
    return RangeTest(tuple(rates), tuple(losses), tuple(losses), "the highest rate was reached")


def test_rates_are_read_off_a_curve():
    rates = probe.find_rates(curve([6.0, 6.0, 5.8, 5.0, 4.2, 4.0, 4.1, 5.0, 3.99 + 4]))
    assert rates.steepest == pytest.approx(10**-3.5)
    assert rates.lowest == pytest.approx(10**-2.5)
    # A steep fall after the lowest point, where training has diverged already, does not count.
    rates = probe.find_rates(curve([6.0, 5.9, 5.4, 5.0, 9.0, 5.1]))
    assert (rates.lowest, rates.steepest) == pytest.approx((10**-2.6, 10**-3.4))
    # Nor does a fall of the average before it covers enough losses.
    rates = probe.find_rates(curve([7.5, 6.0, 6.0, *[6.0] * 12, 5.9, 5.4, 5.0, 5.1, 5.2]))
    assert (rates.lowest, rates.steepest) == pytest.approx((10 ** (-5 + 4 * 17 / 19), 10 ** (-5 + 4 * 16 / 19)))


@pytest.mark.parametrize(
    "losses", [[6.0, 6.0, 6.0, 6.0], [6.0, 7.0, 8.0], [6.0, 5.97, 5.95, 6.5], [6.0, 5.0], [], [6.0, 4.0, *[6.0] * 18]]
)
def test_a_loss_that_never_fell_tells_nothing(losses):
    assert probe.find_rates(curve(losses)) is None


@pytest.mark.slow
def test_a_batch_is_learned_by_heart(make_run, windows):
    seen = []
    result = probe.overfit_batch(
        make_run(steps=200), [windows(8)], target=0.3, on_step=lambda step, loss: seen.append((step, loss))
    )
    assert result.losses[0] == pytest.approx(np.log(40), rel=0.2)
    assert result.losses[-1] < 0.3 <= min(result.losses[:-1])
    assert result.reached == len(result.losses) - 1 < 199
    assert seen == list(enumerate(result.losses, start=1))


@pytest.mark.slow
def test_a_batch_that_is_not_learned_is_said_so(make_run, windows):
    result = probe.overfit_batch(make_run(steps=6, learning_rate=1e-7), [windows(8)], target=0.3)
    assert result.reached is None and len(result.losses) == 6
    (first, *_) = probe.causes(result, target=0.3, by_frequency=3.0)
    assert "never fell" in first


@pytest.mark.slow
def test_a_batch_that_is_not_finite_ends_at_once(make_run, windows):
    bad = windows(8)
    bad["book"][:] = np.nan
    result = probe.overfit_batch(make_run(steps=6), [bad], target=0.3)
    assert len(result.losses) == 1 and math.isnan(result.losses[0]) and result.reached is None


@pytest.mark.parametrize(
    ("losses", "told", "by_frequency"),
    [
        ([math.nan], "not finite after 0 updates", 1.0),
        ([5.0, 5.1, 4.99], "the loss never fell", 6.0),
        ([5.0, 3.0, 2.0, 4.0], "fell and rose again", 6.0),
        ([5.0, 2.0, 2.0, 2.0], "no better than that of the batch's token frequencies (1.500)", 1.5),
        ([5.0, 2.0, 2.0, 2.0], "too small to memorise", 6.0),
    ],
)
def test_losses_point_at_their_cause(losses, told, by_frequency):
    found = probe.causes(Overfitting(tuple(losses), None), target=0.5, by_frequency=by_frequency)
    assert told in found[0]
    assert ("no better" in " ".join(found)) == (by_frequency == 1.5)


def falling(steps, *, to):
    return tuple(np.linspace(5.0, to, steps))


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ((*falling(40, to=0.6), 0.4), "passed"),
        ((5.0, math.nan), "not finite"),
        ((5.0, 4.0), "too few steps"),
        ((5.0, 5.0, 5.0), "too few steps"),
        (falling(60, to=2.0), "too few steps"),
        ((*falling(30, to=2.0), *[2.0] * 30), "not learned"),
        ((*falling(30, to=2.0), *falling(30, to=2.0)[::-1]), "not learned"),
        ((*falling(10, to=2.0), *[4.5] * 40, *falling(10, to=4.0)), "not learned"),
        ((5.0,) * 60, "not learned"),
    ],
)
def test_too_few_steps_are_told_from_a_model_that_does_not_learn(losses, told):
    reached = len(losses) - 1 if losses[-1] < 0.5 else None
    assert probe.outcome(Overfitting(losses, reached)) == told


def test_frequencies_of_scored_targets_alone():
    tokens = np.array([[7, 1, 1, 2, 3], [7, 1, 2, 9, 9]])
    scored = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], bool)  # targets 1 1 2, and 1
    share = np.array([0.75, 0.25])
    assert probe.frequency_loss([{"tokens": tokens, "scored": scored}]) == pytest.approx(-(share @ np.log(share)))


def test_the_picture_has_every_rate_in_its_legend():
    test = curve([6.0, 5.9, 5.5, 5.2, 5.6, 9.0])
    figure = range_figure(test, Rates(1e-3, 3e-3, 3e-4), configured=5e-4, title="a test")
    top, bottom = figure.axes
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    for told in ("configured now, 0.0005", "steepest descent, 0.001", "lowest loss, 0.003", "0.0003"):
        assert any(told in label for label in labels)
    assert top.get_ylim()[0] < 5.2 and 6.0 < top.get_ylim()[1] < 7.5
    assert bottom.get_xscale() == "log"
    without = range_figure(dataclasses.replace(test, ended="early"), None, configured=5e-4, title="a test")
    assert len(without.axes[0].get_legend().get_texts()) == 3
