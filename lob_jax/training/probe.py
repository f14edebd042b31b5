"""Check a model before a long run: a learning-rate range test, and whether it can memorise a single batch."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import optax

from lob_jax.training.run.setup import Run, compile_train_step, compiled, initial_state, place_step
from lob_jax.training.step.optimizer import make_optimizer
from lob_jax.training.step.shift import Batch
from lob_jax.training.step.state import Measured, init_state, kept_beside

SAFETY = 10.0  # the suggested rate is the rate of the lowest loss divided by this
LEAST_FALL = 0.01  # share of the first loss by which a loss must fall to count as falling
LEAST_STEPS = 20  # minimum number of steps from which a trend can be judged
WINDOW = 0.1  # share of the steps that is averaged to judge the loss at the beginning or end

OnStep = Callable[[int, float], None]  # (step, loss)


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """The steps of a learning-rate range test.

    Attributes:
      rates: learning rate of each step.
      losses: loss of each step's batch before its update, nats per token.
      smoothed: running average of the losses.
      ended: why the test ended.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    ended: str


@dataclasses.dataclass(frozen=True)
class Rates:
    """The learning rates derived from a range test.

    Attributes:
      steepest: the rate at which the smoothed loss falls fastest, as a function of the logarithm of the rate.
      lowest: the rate at which it is lowest.
      suggested: a decade below `lowest`.
    """

    steepest: float
    lowest: float
    suggested: float


@dataclasses.dataclass(frozen=True)
class Overfitting:
    """The result of training on a single batch.

    Attributes:
      losses: loss after 0, 1, 2, ... updates, nats per token; a NaN, which ends the test, can only be the last.
      reached: number of updates after which the target was reached; None if it was not.
    """

    losses: tuple[float, ...]
    reached: int | None


def rate_of_step(lowest: float, highest: float, steps: int) -> Callable[[Any], Any]:
    """Return a schedule that rises from lowest to highest by the same factor in each step."""

    def rate(count: Any) -> Any:
        return lowest * (highest / lowest) ** (count / (steps - 1))

    return rate


def with_rising_rate(run: Run, rate: optax.Schedule, *, seed: int, measured: Measured) -> Run:
    """Return a run with another learning-rate schedule but the same optimiser and gradient clipping.

    The optimiser runs with a constant rate of 1, and its updates are scaled. Since the rate is the last factor that
    `make_optimizer` applies, also to weight decay, this equals running the optimiser with the other schedule.

    Args:
      run: the result of `prepare_run`.
      rate: the learning rate as a function of the number of updates.
      seed: seed of the initial parameters and of dropout.
      measured: see `init_state`.
    """
    even = dataclasses.replace(run.config, learning_rate=1.0, warmup_steps=0, final_lr_fraction=1.0, ema_decay=None)
    model = run.model.config
    beside = kept_beside(even, model)
    optimizer = optax.chain(make_optimizer(even, run.total_steps, layers=model.n_layers), optax.scale_by_schedule(rate))
    initial = functools.partial(init_state, model, optimizer, seed=seed, measured=measured, **beside)
    how: dict[str, Any] = {"mesh": run.mesh, "masks": run.masks, "tuning": beside["tuning"]}
    return dataclasses.replace(
        run,
        initial=initial,
        train_step=compile_train_step(run.model, even, optimizer, rate, initial, **how),
    )


def losses_of(run: Run, steps: Iterable[Sequence[Batch]]) -> Iterator[float]:
    """Take the steps of a run from its initial state, and yield the loss before each update.

    The loss is NaN if the update was skipped because the loss or its gradient was not finite.
    """
    run, state = compiled(run), initial_state(run)
    for batches in itertools.islice(steps, run.total_steps):
        state, metrics = run.train_step(state, place_step(run, batches))
        loss, skipped = jax.device_get((metrics["loss"], metrics["skipped_in_row"]))
        yield math.nan if skipped else float(loss)


def grouped(batches: Iterable[Batch], count: int) -> Iterator[list[Batch]]:
    """Yield the batches of each step, `count` consecutive ones at a time."""
    batches = iter(batches)
    while group := list(itertools.islice(batches, count)):
        yield group


def range_test(
    run: Run,
    steps: Iterable[Sequence[Batch]],
    *,
    rate: Callable[[Any], Any],
    smoothing: float,
    stop_factor: float,
    on_step: OnStep | None = None,
) -> RangeTest:
    """Increase the learning rate step by step and record the loss, after Smith (2017), arXiv:1506.01186, section 3.3.

    Args:
      run: the result of `with_rising_rate`.
      steps: the batches of each step.
      rate: the schedule of the run.
      smoothing: weight of the past in the running average, see `smooth`.
      stop_factor: the test ends when the smoothed loss exceeds this multiple of its minimum.
      on_step: called after each step with the number of steps and the loss.
    """
    losses, smoothed, ended = [], (), "the highest rate was reached"
    for loss in losses_of(run, steps):
        if not math.isfinite(loss):
            ended = "the loss or its gradient was no longer finite"
            break
        losses.append(loss)
        smoothed = smooth(losses, smoothing)
        if on_step is not None:
            on_step(len(losses), loss)
        if smoothed[-1] > stop_factor * min(smoothed):
            ended = f"the smoothed loss rose to {stop_factor:g} times its lowest"
            break
    rates = tuple(float(rate(step)) for step in range(len(losses)))
    return RangeTest(rates, tuple(losses), smoothed, ended)


def smooth(values: Sequence[float], share: float) -> tuple[float, ...]:
    """Return the running averages m_k / (1 - share^k) with m_k = share m_{k-1} + (1 - share) value_k and m_0 = 0.

    The divisor corrects the bias towards m_0, as in Adam's moments (Kingma and Ba, 2015).
    """
    mean, smoothed = 0.0, []
    for k, value in enumerate(values, start=1):
        mean = share * mean + (1 - share) * value
        smoothed.append(mean / (1 - share**k))
    return tuple(smoothed)


def slopes(test: RangeTest) -> np.ndarray:
    """Return the slope of the smoothed loss at each step, per decade of the learning rate, by central differences."""
    return np.gradient(np.array(test.smoothed), np.log10(test.rates))


def find_rates(test: RangeTest) -> Rates | None:
    """Return the learning rates derived from a range test; None if its loss never fell.

    Smith chooses the rate of steepest descent; Howard and Gugger (2020), arXiv:2002.04688, a tenth of the rate of the
    lowest loss. The second is suggested: many steps determine the lowest point and only a few the steepest, so the
    lowest is less sensitive to noise.
    """
    if len(test.losses) < 3:
        return None
    few = max(1, round(WINDOW * len(test.losses)))
    first, lowest = np.mean(test.losses[:few]), int(np.argmin(test.smoothed))
    if lowest < few or test.smoothed[lowest] > (1 - LEAST_FALL) * first:
        return None
    steepest = few + int(np.argmin(slopes(test)[few : lowest + 1]))  # averages before are of too few losses
    return Rates(test.rates[steepest], test.rates[lowest], test.rates[lowest] / SAFETY)


def overfit_batch(run: Run, batches: Sequence[Batch], *, target: float, on_step: OnStep | None = None) -> Overfitting:
    """Repeat the same training step until its loss is below the target or the run has no more steps.

    Args:
      run: the result of `prepare_run`.
      batches: the batches of the step.
      target: nats per token.
      on_step: called after each step with the number of steps and the loss.
    """
    losses: list[float] = []
    for loss in losses_of(run, itertools.repeat(batches)):
        losses.append(loss)
        if on_step is not None:
            on_step(len(losses), loss)
        if loss < target or not math.isfinite(loss):
            break
    return Overfitting(tuple(losses), len(losses) - 1 if losses[-1] < target else None)


def frequency_loss(batches: Sequence[Batch]) -> float:
    """Return the entropy of the scored tokens' empirical frequencies in some batches, nats per token.

    A model with a lower loss has used the context of a token.
    """
    scored = [batch["tokens"][..., 1:][np.asarray(batch["scored"][..., 1:]) > 0] for batch in batches]
    _, counts = np.unique(np.concatenate(scored), return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())


def outcome(result: Overfitting) -> str:
    """Return the outcome of `overfit_batch`: "passed", "not finite", "too few steps" or "not learned".

    There were too few steps if there were fewer than LEAST_STEPS, or if the loss was still falling at the end.
    """
    losses = np.array(result.losses)
    if result.reached is not None:
        return "passed"
    if not np.isfinite(losses[-1]):
        return "not finite"
    few = max(1, round(WINDOW * len(losses)))
    last, before = losses[-few:], losses[-2 * few :][:few]
    falling = last.mean() < (1 - LEAST_FALL) * before.mean() and last.min() <= losses.min() + LEAST_FALL * losses[0]
    return "too few steps" if len(losses) < LEAST_STEPS or falling else "not learned"


def causes(result: Overfitting, *, target: float, by_frequency: float) -> list[str]:
    """Return possible causes why a batch was not learned, those that its losses suggest first."""
    losses = np.array(result.losses)
    if not np.isfinite(losses[-1]):
        return [
            f"the loss was not finite after {len(losses) - 1} updates: lower config.train.learning_rate or train.clip",
            "if that was so from the start, check the batch for non-finite values: the book features",
        ]
    few = max(1, round(WINDOW * len(losses)))
    first, last = losses[0], losses[-few:].mean()
    found = []
    if losses.min() > (1 - LEAST_FALL) * first:
        found.append(
            "the loss never fell: config.train.learning_rate is far too low or far too high (--mode=find_lr), or no "
            "gradient reaches the parameters"
        )
    elif last > losses.min() + 0.1 * (first - losses.min()):
        found.append("the loss fell and rose again: lower config.train.learning_rate, or increase warmup_steps")
    if last > by_frequency:
        found.append(
            f"the loss is no better than that of the batch's token frequencies ({by_frequency:.3f}): the model does "
            "not use the context; check the attention mask, the shift of the targets and the positions"
        )
    return [
        *found,
        "the model is too small to memorise the batch: increase config.model.d_model, or reduce batch_size",
        "regularisation prevents it: config.overfit.dropout or config.train.weight_decay is above 0",
        f"the target of {target:g} cannot be reached: the batch has equal contexts followed by different tokens",
    ]
