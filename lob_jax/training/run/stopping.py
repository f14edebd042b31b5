"""Early stopping: track the validations of a run and decide when it ends."""

import dataclasses
import math

from lob_jax.training.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """The state of early stopping.

    Attributes:
      best: lowest validation loss; None before the first finite one.
      best_step: step of that validation.
      strikes: validations since then, none of which was better.
      step: step of the latest validation.
    """

    best: float | None = None
    best_step: int | None = None
    strikes: int = 0
    step: int | None = None

    def after(self, loss: float, step: int) -> "EarlyStopping":
        """Return the state after another validation; a non-finite loss is no improvement."""
        if math.isfinite(loss) and (self.best is None or loss < self.best):
            return EarlyStopping(loss, step, 0, step)
        return dataclasses.replace(self, strikes=self.strikes + 1, step=step)

    def stops(self, config: TrainConfig) -> bool:
        """Return whether the run has run out of patience."""
        return self.strikes >= config.patience


def told_as_ended(stopping: EarlyStopping, config: TrainConfig, *, step: int, total_steps: int) -> str:
    """Return the message for starting a run that has already ended: the step and reason, and how to train further.

    Args:
      stopping: the state of early stopping.
      config: the training settings of this start.
      step: the last step of the run.
      total_steps: the number of steps that this start asks for.
    """
    if stopping.stops(config):
        best = stopping.best_step
        how = "gave a finite loss" if best is None else f"was better than that of step {best:,}"
        why = f"none of the last {stopping.strikes:,} validations {how} (config.train.patience is {config.patience:,})"
        key = "patience"
    else:
        why = f"it was to take {total_steps:,} steps"
        key = "epochs" if config.steps is None else "steps"
    return f"this run has already ended, at step {step:,}: {why}; to train further, pass a higher --config.train.{key}"
