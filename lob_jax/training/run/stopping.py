"""Early stopping: how validations went so far, and whether a run is over."""

import dataclasses
import math

from lob_jax.training.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """How validations went: the best loss, its step, how many came since without a better one, the step of the last."""

    best: float | None = None
    best_step: int | None = None
    strikes: int = 0
    step: int | None = None

    def after(self, loss: float, step: int) -> "EarlyStopping":
        """Return the state after another validation; a loss that is not finite is no improvement."""
        if math.isfinite(loss) and (self.best is None or loss < self.best):
            return EarlyStopping(loss, step, 0, step)
        return dataclasses.replace(self, strikes=self.strikes + 1, step=step)

    def stops(self, config: TrainConfig) -> bool:
        """Return whether patience ends the run."""
        return self.strikes >= config.patience


def told_as_ended(stopping: EarlyStopping, config: TrainConfig, *, step: int, total_steps: int) -> str:
    """Return the sentence for a run that is started again after its end: at which step that was, why, and what to do.

    Args:
      stopping: how its validations went.
      config: of this start.
      step: its last one.
      total_steps: that this start asks for.
    """
    if stopping.stops(config):
        best = stopping.best_step
        how = "gave a finite loss" if best is None else f"was better than that of step {best:,}"
        why = f"none of the last {stopping.strikes:,} validations {how} (config.train.patience is {config.patience:,})"
        key = "patience"
    else:
        why = f"it was to take {total_steps:,} steps"
        key = "epochs" if config.steps is None else "steps"
    return f"this run ended before, at step {step:,}: {why}; to train on, pass a higher --config.train.{key}"
