"""How to train: `TrainConfig`, the keys of the configuration's train section as plain data."""

import dataclasses

from lob_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The train section of a configuration. It has no defaults: those live in configs/base.py alone.

    Attributes:
      batch_size: windows a micro-step, over all devices.
      accumulation: micro-steps an optimiser step.
      micro_batch: windows in memory at once, a device; None for as many as fit.
      epochs: passes over the training windows.
      steps: optimiser steps; None derives them from epochs.
      learning_rate: at its peak.
      warmup_steps: optimiser steps of linear warm-up.
      final_lr_fraction: of learning_rate, where the cosine ends.
      weight_decay: decoupled; none on norms and biases.
      beta1: decay of Adam's first moment.
      beta2: decay of Adam's second moment.
      clip: largest global gradient norm.
      log_every: optimiser steps between two lines of metrics.
      validate_every: optimiser steps between two validations; a checkpoint is saved at each.
      validation_windows: windows a validation.
      keep_best: checkpoints kept by validation loss, beside the latest.
      patience: validations without improvement before stopping.
    """

    batch_size: int
    accumulation: int
    micro_batch: int | None
    epochs: int
    steps: int | None
    learning_rate: float
    warmup_steps: int
    final_lr_fraction: float
    weight_decay: float
    beta1: float
    beta2: float
    clip: float
    log_every: int
    validate_every: int
    validation_windows: int
    keep_best: int
    patience: int

    def __post_init__(self):
        for name in (
            "batch_size",
            "accumulation",
            "epochs",
            "log_every",
            "validate_every",
            "validation_windows",
            "keep_best",
            "patience",
        ):
            self._require(name, getattr(self, name) >= 1, "a whole number, 1 or more")
        for name in ("micro_batch", "steps"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, "1 or more, or None")
        for name in ("learning_rate", "clip"):
            self._require(name, getattr(self, name) > 0, "a number above 0")
        for name in ("warmup_steps", "weight_decay"):
            self._require(name, getattr(self, name) >= 0, "a number, 0 or more")
        for name in ("beta1", "beta2"):
            self._require(name, 0 <= getattr(self, name) < 1, "a number in [0, 1)")
        self._require("final_lr_fraction", 0 <= self.final_lr_fraction <= 1, "a number in [0, 1]")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(
                f"{name} is out of range",
                where=f"config.train.{name}",
                expected=expected,
                was=getattr(self, name),
                remedy=f"set it with --config.train.{name}=...",
            )

    @property
    def windows_per_step(self) -> int:
        """Return the windows that one optimiser step reads."""
        return self.batch_size * self.accumulation


def count_steps(config: TrainConfig, windows: int) -> int:
    """Return the optimiser steps of a whole run over `windows` training windows.

    Raises:
      InputError: there is no window to train on.
    """
    if windows < 1:
        raise InputError(
            "there is nothing to train on",
            where="the training split",
            expected="at least one window",
            was=windows,
            remedy="give more events, a larger config.data.train_fraction, or a shorter config.model.max_seq_length",
        )
    if config.steps is not None:
        return config.steps
    return max(1, config.epochs * windows // config.windows_per_step)
