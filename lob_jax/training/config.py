"""Training settings: `TrainConfig`, the train section of a configuration as plain data."""

import dataclasses

from lob_jax.errors import InputError
from lob_jax.training.step.objective import OBJECTIVES, Objective

CHOICES = {
    "task_weights": ("fixed", "learned"),
    "contrastive_views": ("regimes", "augmented"),
    "adversarial": ("none", "fgm", "pgd"),
    "parallel": ("jit", "pmap"),
    "optimizer": ("adamw", "muon"),
    "schedule": ("cosine", "wsd"),
}
COUNTS = (
    *("batch_size", "accumulation", "fsdp", "tensor", "epochs", "max_skipped", "log_every", "validate_every"),
    *("validation_windows", "keep_best", "patience", "profile_steps", "sparsity_every", "adversarial_steps"),
)
WEIGHTS = ("ahead_weight", "outlook_weight", "contrastive_weight", "adversarial_weight")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The train section of a configuration. It has no defaults: those live in configs/base.py alone.

    Attributes:
      batch_size: windows per micro-step, over all devices.
      accumulation: micro-steps per optimiser step.
      micro_batch: windows in memory at once, per device; None for as many as fit.
      parallel: how a step uses several devices: "jit" over a mesh of data, fsdp and tensor axes, or "pmap".
      fsdp: devices that share a copy of the parameters, each with different windows.
      tensor: devices that share a copy of the parameters and the work on the same windows.
      loss_block: positions per window whose logits are in memory at once; None for all of them.
      deterministic: whether steps on GPUs use only algorithms that give the same bits in every run; CPUs and TPUs have
        no others.
      objective: a module of `training/step/objectives/`, such as "next_token".
      mask_share: fraction of tokens hidden by the objective "masked".
      mask_events: whether that objective hides all tokens of an event together.
      task_weights: weights of the parts of the loss: "fixed", the next ones, or "learned", see `training.step.tasks`.
      ahead_weight: weight of the loss of each further token ahead, if the model has heads for them.
      outlook_weight: weight of the loss of direction and of that of volatility, if the model has heads for them.
      contrastive_weight: weight of the contrastive loss, if the model has a head for it.
      contrastive_temperature: divisor of the similarities.
      contrastive_views: what is pulled together: windows of the same "regimes", or two "augmented" views of a window,
        see `training.step.contrastive`.
      view_mask_share: fraction of the tokens of an augmented view that are replaced by MASK.
      view_mirror: whether half of the augmented views are of the mirrored market.
      adversarial: "none", "fgm" or "pgd", see `training.step.adversarial`.
      adversarial_eps: radius of the perturbation, as a fraction of the norm of a window's token embeddings.
      adversarial_steps: steps of "pgd".
      adversarial_weight: weight of the adversarial loss; the loss of the unperturbed tokens has 1.
      mixup: alpha of the Beta distribution of the shares by which two windows are mixed; 0 for none.
      epochs: passes over the training windows.
      steps: optimiser steps; None to derive them from epochs.
      max_hours: time after which the run is saved and ends, and can be resumed; None for no limit.
      optimizer: "adamw" or "muon".
      learning_rate: peak learning rate.
      schedule: "cosine" or "wsd" (warm-up, stable, decay).
      decay_fraction: fraction of all updates over which wsd decays.
      warmup_steps: optimiser steps of linear warm-up.
      final_lr_fraction: final learning rate, as a fraction of the peak.
      weight_decay: decoupled weight decay; norms and biases have none.
      beta1: decay of Adam's first moment.
      beta2: decay of Adam's second moment, and of Muon's momentum.
      clip: maximum global gradient norm.
      sparsity: share of zeros that pruning while training ends with, see `training.step.sparsity`; 0 for none.
      sparsity_start: share of the updates after which the first weights become zero.
      sparsity_end: share of the updates after which the last ones do.
      sparsity_every: updates between two times at which weights become zero.
      ema_decay: decay of the averaged parameters that are validated; None for no average.
      max_skipped: number of steps skipped in a row, for non-finite gradients, that ends the run.
      log_every: optimiser steps between two lines of metrics.
      validate_every: optimiser steps between two validations; a checkpoint is saved at each.
      validation_windows: windows per validation.
      keep_best: checkpoints kept for their validation loss, in addition to the latest.
      patience: validations without improvement before stopping.
      init: folder of a trained run whose best parameters the run starts from; empty to start from random ones.
      init_allow: patterns of parameters that the two models need not share.
      frozen: patterns of parameters that stay as they are.
      layer_decay: factor of the learning rate from each layer to the one below it; 1 for the same rate everywhere.
      lora_rank: rank of the additions to matrices that are trained instead of all parameters; 0 for none.
      lora_alpha: their factor is lora_alpha / lora_rank.
      lora_targets: patterns of the matrices that have additions.
      lora_also: patterns of parameters that are trained beside the additions.
      sample_events: events generated for inspection at each validation; 0 for none.
      profile_step: step before which a profiler trace starts; None for no trace.
      profile_steps: steps in the trace.
    """

    batch_size: int
    accumulation: int
    micro_batch: int | None
    parallel: str
    fsdp: int
    tensor: int
    loss_block: int | None
    deterministic: bool
    objective: str
    mask_share: float
    mask_events: bool
    task_weights: str
    ahead_weight: float
    outlook_weight: float
    contrastive_weight: float
    contrastive_temperature: float
    contrastive_views: str
    view_mask_share: float
    view_mirror: bool
    adversarial: str
    adversarial_eps: float
    adversarial_steps: int
    adversarial_weight: float
    mixup: float
    epochs: int
    steps: int | None
    max_hours: float | None
    optimizer: str
    learning_rate: float
    schedule: str
    decay_fraction: float
    warmup_steps: int
    final_lr_fraction: float
    weight_decay: float
    beta1: float
    beta2: float
    clip: float
    sparsity: float
    sparsity_start: float
    sparsity_end: float
    sparsity_every: int
    ema_decay: float | None
    max_skipped: int
    log_every: int
    validate_every: int
    validation_windows: int
    keep_best: int
    patience: int
    init: str
    init_allow: tuple[str, ...]
    frozen: tuple[str, ...]
    layer_decay: float
    lora_rank: int
    lora_alpha: float
    lora_targets: tuple[str, ...]
    lora_also: tuple[str, ...]
    sample_events: int
    profile_step: int | None
    profile_steps: int

    def __post_init__(self):
        for name in COUNTS:
            self._require(name, getattr(self, name) >= 1, "a whole number, 1 or more")
        for name in ("micro_batch", "steps", "loss_block", "profile_step"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, "1 or more, or None")
        for name in ("learning_rate", "clip", "contrastive_temperature", "adversarial_eps", "lora_alpha"):
            self._require(name, getattr(self, name) > 0, "a number above 0")
        for name in ("warmup_steps", "weight_decay", "sample_events", "lora_rank", "mixup", *WEIGHTS):
            self._require(name, getattr(self, name) >= 0, "a number, 0 or more")
        for name in ("beta1", "beta2", "sparsity", "view_mask_share"):
            self._require(name, 0 <= getattr(self, name) < 1, "a number in [0, 1)")
        if self.objective not in OBJECTIVES:
            raise OBJECTIVES.unknown(self.objective)
        for name, choices in CHOICES.items():
            self._require(name, getattr(self, name) in choices, f"one of {choices}")
        self._require("mask_share", 0 < self.mask_share < 1, "a number in (0, 1)")
        self._require("final_lr_fraction", 0 <= self.final_lr_fraction <= 1, "a number in [0, 1]")
        self._require("decay_fraction", 0 < self.decay_fraction <= 1, "a number in (0, 1]")
        self._require("max_hours", self.max_hours is None or self.max_hours > 0, "a number above 0, or None")
        self._require("ema_decay", self.ema_decay is None or 0 < self.ema_decay < 1, "between 0 and 1, or None")
        start, end = self.sparsity_start, self.sparsity_end
        self._require("sparsity_start", 0 <= start < end, f"0 or more, and less than sparsity_end, {end}")
        self._require("sparsity_end", end <= 1, "a number up to 1")
        self._require("layer_decay", 0 < self.layer_decay <= 1, "a number in (0, 1]")
        self._check_tuning()
        supported = self.parallel == "jit" or self.fsdp * self.tensor == 1
        self._require("parallel", supported, "jit if fsdp or tensor is above 1: pmap keeps complete copies")
        chosen = self.parallel == "jit" or not self.deterministic
        self._require("parallel", chosen, "jit if deterministic: pmap takes no compiler options")

    def _check_tuning(self) -> None:
        """Check that the settings of fine-tuning go together."""
        lora, starts = self.lora_rank > 0, bool(self.init)
        self._require("lora_rank", starts or not lora, "0 without train.init: random matrices are no base to add to")
        self._require("lora_targets", not lora or bool(self.lora_targets), "at least one pattern, since lora_rank > 0")
        self._require("lora_also", lora or not self.lora_also, "no pattern, since lora_rank is 0")
        self._require(
            "frozen", not (lora and self.frozen), "no pattern with lora_rank: all but the additions is frozen"
        )
        self._require("sparsity", not (lora and self.sparsity), "0 with lora_rank: the sum of a matrix has no zeros")
        self._require("init_allow", starts or not self.init_allow, "no pattern without train.init")

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
    def objective_of_loss(self) -> Objective:
        """Return the parts of the loss and their weights."""
        names = (field.name for field in dataclasses.fields(Objective) if field.name != "kind")
        return Objective(kind=self.objective, **{name: getattr(self, name) for name in names})

    @property
    def windows_per_step(self) -> int:
        """Return the number of windows per optimiser step."""
        return self.batch_size * self.accumulation


def count_steps(config: TrainConfig, windows: int) -> int:
    """Return the number of optimiser steps of a complete run over `windows` training windows.

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
