"""The identity of a run: the role of each configuration key, what checkpoints record, and what resuming refuses."""

import dataclasses
import enum
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lob_jax.errors import InputError, flat
from lob_jax.later_keys import FIRST, Source, completed, refuse_newer
from lob_jax.models.config import SETTINGS, ModelConfig
from lob_jax.training.config import TrainConfig
from lob_jax.training.step.objective import OBJECTIVES
from lob_jax.training.step.shift import Batch

Values = dict[str, Any]  # plain JSON values by key, such as {"train.clip": 1.0}

SHOWN = 60  # characters of a value in an error
LISTED = 12  # keys in an error
ABSENT = "absent"
DEVICES = "devices"  # key in `rounding`


class Role(enum.Enum):
    """The effect of changing a key when a run is resumed."""

    DATA = "identifies the data: the windows and the order in which they are read"
    MODEL = "identifies the model: its parameters, its computation, and its optimiser's state"
    RECORDED = "may change between two steps, and the change is recorded with the step"
    MEASURE = "may change in the same way, but validation losses before and after are not compared"
    ROUNDING = "may change: it affects how the same numbers are computed, which stay equal up to rounding"
    FREE = "may change: no number in training depends on it"


# Each key of the sections data, tokens, model and train, and the seed, exactly once.
ROLES: dict[Role, tuple[str, ...]] = {
    Role.DATA: (
        *("seed", "data.feed", "data.symbols", "data.tick", "data.lot", "data.on_error"),
        *("data.columns", "data.time_zone", "data.order_book"),
        *("data.synthetic_days", "data.synthetic_events", "data.record_events", "data.book_levels"),
        *("data.train_fraction", "data.validation_fraction", "data.embargo_events"),
        *("data.mirror", "data.volatility_regimes", "data.spread_regimes"),
        *("data.augment.warp", "data.augment.warp_events", "data.augment.event_dropout", "data.augment.token_dropout"),
        *("data.augment.manipulation", "data.augment.patterns", "data.augment.synthetic", "data.augment.synthetic_run"),
        *("data.augment.own_flow", "data.augment.own_events", "data.augment.own_prompts"),
        *("tokens.kind", "tokens.time_digits", "tokens.references"),
    ),
    Role.MODEL: (
        *("model.d_model", "model.n_layers", "model.n_heads", "model.head_size", "model.d_ff"),
        *("model.vocab_size", "model.max_seq_length"),
        *("model.tie_embeddings", "model.norm", "model.activation", "model.positions", "model.causal"),
        *("model.mask", "model.time_of_day", "model.time_buckets", "model.day_of_week", "model.book_state"),
        *("model.standardize_book", "model.flow_state", "model.queue_state", "model.price_memory"),
        *("model.latest_tokens", "model.token_parts", "model.digits_rank", "model.gap_components"),
        *("model.counts", "model.pointer", "model.regime", "model.n_instruments", "model.scan_layers"),
        *("model.attention.kind", "model.attention.qk_norm"),
        *("model.attention.horizons", "model.attention.block", "model.attention.local_blocks"),
        *("model.attention.global_blocks", "model.attention.random_features", "model.attention.summaries"),
        *("model.attention.cross_asset", "model.heads.next_tokens", "model.heads.outlook_events"),
        *("model.heads.contrastive_size", "train.objective", "train.optimizer", "train.task_weights"),
        *("train.init", "train.init_allow", "train.frozen"),
        *("train.lora_rank", "train.lora_alpha", "train.lora_targets", "train.lora_also"),
    ),
    Role.RECORDED: (
        *("model.dropout", "model.dtype", "train.ahead_weight", "train.outlook_weight", "train.contrastive_weight"),
        *("train.contrastive_temperature", "train.epochs", "train.steps", "train.learning_rate", "train.schedule"),
        *("train.decay_fraction", "train.warmup_steps", "train.final_lr_fraction", "train.weight_decay"),
        *("train.layer_decay", "train.beta1", "train.beta2", "train.clip", "train.ema_decay"),
        *("train.validate_every", "train.patience"),
        *("train.sparsity", "train.sparsity_start", "train.sparsity_end", "train.sparsity_every"),
        *("train.contrastive_views", "train.view_mask_share", "train.view_mirror"),
        *("train.adversarial", "train.adversarial_eps", "train.adversarial_steps", "train.adversarial_weight"),
        "train.mixup",
    ),
    Role.MEASURE: ("train.validation_windows", "train.mask_share", "train.mask_events"),
    Role.ROUNDING: (
        *("model.attention.backend", "model.remat", "train.batch_size", "train.accumulation", "train.parallel"),
        *("train.fsdp", "train.tensor", "train.loss_block", "train.deterministic"),
    ),
    Role.FREE: (
        # Files are identified by their SHA-256, so that they may be moved.
        *("data.path", "data.processes", "data.runner", "data.runner_options", "data.workers"),
        # The micro-batch in use, chosen or given, is recorded separately.
        *("train.micro_batch", "train.max_hours", "train.max_skipped", "train.log_every", "train.keep_best"),
        *("train.sample_events", "train.profile_step", "train.profile_steps"),
    ),
}

# Fields of a model that are read only by some models; they do not identify the others.
_READ_WHERE = {
    "time_buckets": lambda model: model.time_of_day,
    "book_features": lambda model: model.book_state,
    "standardize_book": lambda model: model.book_state,
    "n_regimes": lambda model: model.regime != "none" or model.heads.contrastive_size > 0,
    **{f"attention.{name}": lambda model, name=name: name in model.attention.settings for name in SETTINGS},
}
# What identifies a run without being the value of a single key, and the keys that determine it.
WINDOWS_A_STEP = "train.batch_size x train.accumulation"
AVERAGE = "an average of the parameters (train.ema_decay)"
LOSS_SCALE = "a loss scale (model.dtype=float16)"
PARAMETERS = "dtype of the parameters (model.dtype)"
_KEYS_OF = {
    WINDOWS_A_STEP: ("train.batch_size", "train.accumulation"),
    AVERAGE: ("train.ema_decay",),
    LOSS_SCALE: ("model.dtype",),
    PARAMETERS: ("model.dtype",),
}
# Fields of a model that are not keys, since the data determine them.
FROM_DATA = ("model.book_features", "model.n_regimes")
OTHERS = (
    *FROM_DATA,
    *_KEYS_OF,
    "vocabulary_hash",
    "windows",
    DEVICES,
)  # what is recorded in addition to the keys of `ROLES`


def keys_of(*roles: Role) -> frozenset[str]:
    """Return the keys that have one of these roles."""
    return frozenset(key for role in roles for key in ROLES[role])


def model_identity(model: ModelConfig) -> Values:
    """Return the values that two models must share for one to compute the same from the parameters of the other."""
    other = keys_of(*Role) - keys_of(Role.MODEL)
    fields = flat(model.to_dict())
    return {
        key: value
        for key, value in fields.items()
        if f"model.{key}" not in other and _READ_WHERE.get(key, lambda _: True)(model)
    }


def run_identity(
    model: ModelConfig, config: TrainConfig, *, seed: int, windows: int, vocabulary_hash: str, fingerprint: Values
) -> Values:
    """Return the values that two runs must share for one to be resumed from a checkpoint of the other.

    Args:
      model: the model.
      config: training settings.
      seed: seed of the initial parameters, of dropout and of the order of windows.
      windows: number of training windows.
      vocabulary_hash: hash of the tokenizer's vocabulary.
      fingerprint: everything else that determines the windows.
    """
    return {
        "model": model_identity(model),
        "vocabulary_hash": vocabulary_hash,
        "data": json.loads(json.dumps(fingerprint)),  # as a checkpoint gives it back, which knows lists, not tuples
        "seed": seed,
        "windows": windows,
        **_chosen(model, config, frozenset(key for key in keys_of(Role.MODEL) if key.startswith("train."))),
        WINDOWS_A_STEP: config.windows_per_step,
        AVERAGE: config.ema_decay is not None,
        LOSS_SCALE: model.dtype == "float16",
        PARAMETERS: model.param_dtype,
    }


def changeable(model: ModelConfig, config: TrainConfig) -> Values:
    """Return the values that may change between two steps, with changes recorded."""
    return _chosen(model, config, keys_of(Role.RECORDED, Role.MEASURE))


def rounding(model: ModelConfig, config: TrainConfig, devices: Sequence[jax.Device]) -> Values:
    """Return the values that affect rounding: settings of the computation, and the devices."""
    kinds = sorted({device.device_kind for device in devices})
    return {
        **_chosen(model, config, keys_of(Role.ROUNDING)),
        DEVICES: f"{len(devices)} x {' or '.join(kinds)}",
    }


def _chosen(model: ModelConfig, config: TrainConfig, keys: frozenset[str]) -> Values:
    values = flat({"model": model.to_dict(), "train": dataclasses.asdict(config)})
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return {key: value for key, value in plain.items() if key in keys}


def measure(validation: Sequence[Batch], config: TrainConfig) -> str:
    """Return a digest of what validation is measured on; losses with different digests are not compared."""
    sha256 = hashlib.sha256()
    for name in sorted({name for batch in validation for name in batch}):
        sha256.update(name.encode())
        for batch in validation:  # in sequence, so that the digest is the same for any split into batches
            sha256.update(np.ascontiguousarray(batch[name]).data)
    objective = OBJECTIVES[config.objective]
    for name in objective.settings:
        sha256.update(f"{name} {getattr(config, name)!r}".encode())
    if objective.revision:
        sha256.update(f"revision {objective.revision}".encode())
    return sha256.hexdigest()


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return [value before, value now] for keys whose values differ; newer keys had their neutral values before."""
    before = completed(before, now)
    return {key: [before.get(key, ABSENT), value] for key, value in now.items() if before.get(key, ABSENT) != value}


def refuse_mismatch(
    saved: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    where: object,
    whole: bool = False,
    values: Mapping[str, Any] | None = None,
    written_by: str = FIRST,
) -> None:
    """Check that a checkpoint has a given identity; keys that are newer than it had their neutral values.

    Args:
      saved: the identity in the checkpoint.
      wanted: the identity, or a part of it, that it must have.
      whole: whether `wanted` is the whole identity of a run, so that a setting of the data that only the checkpoint has
        is one that the run has switched off.
      where: the location of the checkpoint, for errors.
      values: other values of the checkpoint's run, by key, for the remedy.
      written_by: the version of lob_jax that saved it.

    Raises:
      InputError: an identity differs, with one line per key, or a newer version saved keys that this one does not know.
    """
    saved, wanted, values = flat(saved), flat(wanted), values or {}
    saved = completed(saved, wanted)
    known = {*wanted, *keys_of(*Role), *OTHERS}
    unknown = [key for key in {**saved, **values} if key not in known and not key.startswith("data.")]
    refuse_newer(unknown, Source("the checkpoint", of="a run", where=where, written_by=written_by))
    off = [key for key in saved if whole and key not in wanted and key.startswith("data.") and key in keys_of(*Role)]
    differing = {key: (saved.get(key, ABSENT), wanted.get(key, ABSENT)) for key in (*wanted, *off)}
    differing = {key: (was, now) for key, (was, now) in differing.items() if was != now}
    if differing:
        raise InputError(
            "the checkpoint is of another run",
            where=where,
            expected=_listed({key: was for key, (was, _) in differing.items()}),
            was=_listed({key: now for key, (_, now) in differing.items()}),
            remedy=_remedy({key: was for key, (was, _) in differing.items()}, values),
        )


def _listed(values: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_shortened(value)}" for key, value in list(values.items())[:LISTED]]
    if len(values) > LISTED:
        lines.append(f"and {len(values) - LISTED} more")
    return "\n".join(lines)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _remedy(saved: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Return how to resume the checkpoint's run: the options that it was started with, or its data."""
    options, others = {}, []
    for key, value in saved.items():
        name = key.replace("data.inputs.", "data.")
        if key in _KEYS_OF and all(part in values for part in _KEYS_OF[key]):
            options |= {part: values[part] for part in _KEYS_OF[key]}
        elif name in keys_of(*Role) and value != ABSENT and not isinstance(value, dict):
            options[name] = value
        elif key == "model.book_features" and value != ABSENT:
            options["data.book_levels"] = value // 4
        else:
            others.append(key)
    parts = [f"resume as that run was started, {_options(options)}"] if options else []
    if others:
        parts.append(f"restore the data and settings that it was trained with ({', '.join(others[:LISTED])})")
    return f"{', and '.join(parts)}; or start another run in another --workdir"


def _options(values: Mapping[str, Any]) -> str:
    """Return the command-line options for values; a key with value None is left out, since no option can give None."""
    shown = {
        key: repr(tuple(value)) if isinstance(value, list | tuple) else str(value) for key, value in values.items()
    }
    given = [f"--config.{key}={shlex.quote(text)}" for key, text in shown.items() if values[key] is not None]
    left_out = [f"--config.{key}" for key in shown if values[key] is None]
    parts = [f"with {' '.join(given)}"] * bool(given) + [f"without {' '.join(left_out)}"] * bool(left_out)
    return " and ".join(parts)
