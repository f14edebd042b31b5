"""Two questions before a long run: which learning rate, and can the model learn a single batch by heart."""

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
from lob_jax.training.step.state import init_state

SAFETY = 10.0  # how far below the rate of the lowest loss is safe
LEAST_FALL = 0.01  # of the first loss: one that falls by less has not fallen
LEAST_STEPS = 20  # that tell anything of how a loss goes
WINDOW = 0.1  # of the steps, that what the loss does at their beginning or end is judged by

OnStep = Callable[[int, float], None]  # (step, loss)


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """A learning-rate range test, step by step.

    Attributes:
      rates: learning rates.
      losses: of each step's batch, before its update, nats a token.
      smoothed: a running average of them.
      ended: why there was no further step.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    ended: str


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a range test tells.

    Attributes:
      steepest: where the smoothed loss falls fastest, by the logarithm of the rate.
      lowest: where it is lowest.
      suggested: a decade below `lowest`.
    """

    steepest: float
    lowest: float
    suggested: float


@dataclasses.dataclass(frozen=True)
class Overfitting:
    """How a model learned one batch.

    Attributes:
      losses: after 0, 1, 2, ... updates, nats a token; the last may be NaN, and then there was no further step.
      reached: the updates after which the target was reached; None if it was not.
    """

    losses: tuple[float, ...]
    reached: int | None


def rate_of_step(lowest: float, highest: float, steps: int) -> Callable[[Any], Any]:
    """Return the learning rate by updates made: it rises from lowest to highest, each step by the same factor."""

    def rate(count: Any) -> Any:
        return lowest * (highest / lowest) ** (count / (steps - 1))

    return rate


def with_rising_rate(run: Run, rate: optax.Schedule, *, seed: int, token_counts: np.ndarray | None) -> Run:
    """Return a run with another learning rate; its optimiser and clip stay as they are.

    The optimiser is given the rate 1 throughout, and what it returns is scaled. Since the rate is the last thing that
    `make_optimizer` multiplies by, weight decay included, this is the same as giving it the other rate.

    Args:
      run: as `prepare_run` gives it.
      rate: by updates made.
      seed: of the first parameters and of dropout.
      token_counts: see `init_state`.
    """
    even = dataclasses.replace(run.config, learning_rate=1.0, warmup_steps=0, final_lr_fraction=1.0, ema_decay=None)
    optimizer = optax.chain(make_optimizer(even, run.total_steps), optax.scale_by_schedule(rate))
    initial = functools.partial(init_state, run.model.config, optimizer, seed=seed, token_counts=token_counts)
    return dataclasses.replace(
        run, initial=initial, train_step=compile_train_step(run.model, even, optimizer, rate, initial, mesh=run.mesh)
    )


def losses_of(run: Run, steps: Iterable[Sequence[Batch]]) -> Iterator[float]:
    """Take the run's steps from its first state on, and yield the loss before each update.

    It is NaN where an update was skipped because the loss or its gradient was not finite.
    """
    run, state = compiled(run), initial_state(run)
    for batches in itertools.islice(steps, run.total_steps):
        state, metrics = run.train_step(state, place_step(run, batches))
        loss, skipped = jax.device_get((metrics["loss"], metrics["skipped_in_row"]))
        yield math.nan if skipped else float(loss)


def grouped(batches: Iterable[Batch], count: int) -> Iterator[list[Batch]]:
    """Yield the batches of each step: `count` of them in turn."""
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
    """Raise the learning rate step by step and watch the loss, after Smith (2017), arXiv:1506.01186, section 3.3.

    Args:
      run: see `with_rising_rate`.
      steps: the batches of each step.
      rate: of the run.
      smoothing: share of the past in the running average, see `smooth`.
      stop_factor: the test ends where the smoothed loss exceeds this multiple of its lowest.
      on_step: called after each step.
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

    The divisor is the weight of what has been seen, as in Adam's moments (Kingma and Ba, 2015).
    """
    mean, smoothed = 0.0, []
    for k, value in enumerate(values, start=1):
        mean = share * mean + (1 - share) * value
        smoothed.append(mean / (1 - share**k))
    return tuple(smoothed)


def slopes(test: RangeTest) -> np.ndarray:
    """Return the change of the smoothed loss for a tenfold rate, at each step: central differences."""
    return np.gradient(np.array(test.smoothed), np.log10(test.rates))


def find_rates(test: RangeTest) -> Rates | None:
    """Return what a range test tells; None where its loss never fell.

    Steepest descent is Smith's reading; a tenth of the rate of the lowest loss is that of Howard and Gugger (2020),
    arXiv:2002.04688. The second is the one suggested: the lowest point is found by many steps and the steepest by
    a few, so that noise moves it less.
    """
    if len(test.losses) < 3:
        return None
    few = max(1, round(WINDOW * len(test.losses)))
    first, lowest = np.mean(test.losses[:few]), int(np.argmin(test.smoothed))
    if lowest < few or test.smoothed[lowest] > (1 - LEAST_FALL) * first:
        return None
    steepest = few + int(np.argmin(slopes(test)[few : lowest + 1]))  # the average is of too few losses before
    return Rates(test.rates[steepest], test.rates[lowest], test.rates[lowest] / SAFETY)


def overfit_batch(run: Run, batches: Sequence[Batch], *, target: float, on_step: OnStep | None = None) -> Overfitting:
    """Take the same step again and again, until its loss is below the target or the run's steps are over.

    Args:
      run: as `prepare_run` gives it.
      batches: of one step.
      target: nats a token.
      on_step: called after each step.
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
    """Return what the scored tokens of some batches cost by their own frequencies there, nats a token.

    A model below this has used what lies before a token.
    """
    scored = [batch["tokens"][..., 1:][np.asarray(batch["scored"][..., 1:]) > 0] for batch in batches]
    _, counts = np.unique(np.concatenate(scored), return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())


def outcome(result: Overfitting) -> str:
    """Return how a batch was learned: "passed", "not finite", "too few steps" or "not learned".

    Steps are too few if there are hardly any, or if the loss has fallen and was falling still at their end.
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
    """Return where to look if a batch was not learned, what its losses point at first."""
    losses = np.array(result.losses)
    if not np.isfinite(losses[-1]):
        return [
            f"the loss was not finite after {len(losses) - 1} updates: lower config.train.learning_rate or train.clip",
            "if it was so from the start, look for values in the batch that are not finite: features of the book",
        ]
    few = max(1, round(WINDOW * len(losses)))
    first, last = losses[0], losses[-few:].mean()
    found = []
    if losses.min() > (1 - LEAST_FALL) * first:
        found.append(
            "the loss never fell: config.train.learning_rate is far too low or too high (--mode=find_lr), or no "
            "gradient reaches the parameters"
        )
    elif last > losses.min() + 0.1 * (first - losses.min()):
        found.append("the loss fell and rose again: lower config.train.learning_rate, or lengthen warmup_steps")
    if last > by_frequency:
        found.append(
            f"the loss is no better than the batch's own token frequencies ({by_frequency:.3f}): the model does not "
            "use what lies before a token; look at the attention mask, the shift of the targets and the positions"
        )
    return [
        *found,
        "the model is too small to learn the batch by heart: a larger config.model.d_model, or a smaller batch_size",
        "something keeps it from doing so: config.overfit.dropout or config.train.weight_decay above 0",
        f"the target of {target:g} is below what the batch allows: equal contexts with different tokens behind them",
    ]
