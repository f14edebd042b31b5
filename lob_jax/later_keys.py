"""Keys added after version 0.1.0: stored data without such a key are read as if they had its neutral value."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import lob_jax
from lob_jax.errors import InputError

FIRST = "0.1.0"  # the version of stored data without a version number
VERSION = "version"  # the key of the version number in stored data
UNTOLD = ("serve.", "experiments.")  # keys that say how a run is used, and nothing of what it is


@dataclasses.dataclass(frozen=True)
class LaterKey:
    """A key that earlier versions did not store.

    Attributes:
      key: where it is stored: a key of the configuration such as "model.window"; "data." and a path in the fingerprint
        of records; or "checkpoint." and a field of `Meta`.
      neutral: the value, as plain JSON, that reproduces the behaviour before the key existed. The default in
        configs/base.py may be different.
      since: the first version with the key.
      also: further keys with the same value; for a key of the data section, "data.inputs." and the key.
    """

    key: str
    neutral: Any
    since: str
    also: tuple[str, ...] = ()


# In the order of their versions. Stored data that lack a key that is not listed here are refused.
LATER: tuple[LaterKey, ...] = (
    LaterKey("forecast.smoothing", "both", since="0.2.0"),
    LaterKey("forecast.threshold", None, since="0.2.0"),
    LaterKey("forecast.protocol", "days", since="0.2.0"),
    LaterKey("score.real", "", since="0.2.0", also=("score.training",)),
    LaterKey("score.generated", [], since="0.2.0", also=("score.baselines", "score.networks")),
    LaterKey("score.events", 500, since="0.2.0"),
    LaterKey("score.levels", 0, since="0.2.0", also=("score.seed",)),
    LaterKey("score.tick", None, since="0.2.0"),
    LaterKey("score.splits", 50, since="0.2.0"),
    LaterKey("score.resamples", 100, since="0.2.0", also=("score.block",)),
    LaterKey("generate.prompts", 1, since="0.2.0"),
    LaterKey("compare.runs", [], since="0.2.0"),
    LaterKey("model.mask", "none", since="0.2.0"),
    LaterKey("tokens.references", "newest", since="0.2.0", also=("data.tokenizer.references",)),
    LaterKey("generate.limit_sizes", False, since="0.2.0"),
    LaterKey("generate.orders", [], since="0.2.0"),
    LaterKey("model.standardize_book", False, since="0.2.0"),
    LaterKey("model.flow_state", False, since="0.2.0"),
    LaterKey("model.queue_state", False, since="0.2.0"),
    LaterKey("model.latest_tokens", False, since="0.2.0"),
    LaterKey("model.price_memory", False, since="0.2.0"),
    LaterKey("model.token_parts", False, since="0.2.0"),
    LaterKey("model.digits_rank", 0, since="0.2.0"),
    LaterKey("model.gap_components", 0, since="0.2.0"),
    LaterKey("model.counts", 0, since="0.2.0"),
    LaterKey("model.pointer", False, since="0.2.0"),
    LaterKey("data.mirror", False, since="0.2.0"),
    LaterKey("model.head_size", 0, since="0.2.0"),
    LaterKey("train.sparsity", 0.0, since="0.2.0"),
    LaterKey("train.sparsity_start", 0.1, since="0.2.0"),
    LaterKey("train.sparsity_end", 0.7, since="0.2.0"),
    LaterKey("train.sparsity_every", 20, since="0.2.0"),
    LaterKey("train.mask_events", False, since="0.2.0", also=("train.view_mirror",)),
    LaterKey("train.task_weights", "fixed", since="0.2.0"),
    LaterKey("train.contrastive_views", "regimes", since="0.2.0"),
    LaterKey("train.view_mask_share", 0.15, since="0.2.0"),
    LaterKey("train.adversarial", "none", since="0.2.0"),
    LaterKey("train.adversarial_eps", 0.1, since="0.2.0"),
    LaterKey("train.adversarial_steps", 3, since="0.2.0"),
    LaterKey("train.adversarial_weight", 1.0, since="0.2.0"),
    LaterKey("train.mixup", 0.0, since="0.2.0"),
    LaterKey("data.augment.warp", 0.0, since="0.2.0"),
    LaterKey("data.augment.warp_events", 50, since="0.2.0"),
    LaterKey("data.augment.event_dropout", 0.0, since="0.2.0", also=("data.augment.token_dropout",)),
    LaterKey("data.augment.manipulation", 0.0, since="0.2.0", also=("data.augment.synthetic", "data.augment.own_flow")),
    LaterKey("data.augment.patterns", ["spoofing", "layering", "stuffing"], since="0.2.0"),
    LaterKey("data.augment.synthetic_run", "", since="0.2.0"),
    LaterKey("data.augment.own_events", 20, since="0.2.0"),
    LaterKey("data.augment.own_prompts", None, since="0.2.0"),
    LaterKey("evaluate.manipulated", [], since="0.2.0"),
    LaterKey("evaluate.manipulated_records", 8, since="0.2.0"),
    LaterKey("train.init", "", since="0.2.0"),
    LaterKey("train.init_allow", [], since="0.2.0", also=("train.frozen", "train.lora_also")),
    LaterKey("train.layer_decay", 1.0, since="0.2.0"),
    LaterKey("train.lora_rank", 0, since="0.2.0"),
    LaterKey("train.lora_alpha", 16.0, since="0.2.0"),
    LaterKey("train.lora_targets", ["*/attention/*", "*/ffn/*"], since="0.2.0"),
    LaterKey("train.deterministic", False, since="0.2.0"),
    LaterKey("checkpoint.source", None, since="0.2.0"),
    LaterKey("prune.into", "", since="0.2.0"),
    LaterKey("prune.heads", 0.25, since="0.2.0", also=("prune.columns",)),
    LaterKey("prune.windows", 256, since="0.2.0"),
    LaterKey("generate.precision", "float32", since="0.2.0"),
    LaterKey("generate.backend", "jax", since="0.2.0"),
    LaterKey("export.formats", ["onnx", "stablehlo"], since="0.2.0"),
    LaterKey("export.precisions", ["int8", "int4"], since="0.2.0"),
    LaterKey("export.name", "bundle", since="0.2.0"),
    LaterKey("export.opset", 18, since="0.2.0"),
    LaterKey("export.windows", 32, since="0.2.0"),
    LaterKey("forecast.onnx", False, since="0.2.0"),
    LaterKey("serve.bundle", [], since="0.2.0"),
    LaterKey("serve.host", "127.0.0.1", since="0.2.0"),
    LaterKey("serve.port", 8000, since="0.2.0"),
    LaterKey("serve.keys_file", "", since="0.2.0", also=("serve.precision",)),
    LaterKey("serve.access_log", True, since="0.2.0"),
    LaterKey("serve.drain_s", 30.0, since="0.2.0", also=("serve.body_s", "serve.keep_alive_s")),
    LaterKey("serve.monitor_share", 0.0, since="0.2.0"),
    LaterKey("serve.threads", 0, since="0.2.0"),
    LaterKey("serve.rows", 32, since="0.2.0", also=("serve.streams",)),
    LaterKey("serve.queue", 64, since="0.2.0", also=("serve.sessions",)),
    LaterKey("serve.sessions_per_key", 16, since="0.2.0", also=("serve.json_depth",)),
    LaterKey("serve.idle_s", 900.0, since="0.2.0"),
    LaterKey("serve.deadline_s", 60.0, since="0.2.0", also=("serve.stall_s",)),
    LaterKey("serve.history_events", 5_000, since="0.2.0"),
    LaterKey("serve.book_orders", 20_000, since="0.2.0", also=("serve.path_events",)),
    LaterKey("serve.paths", 256, since="0.2.0"),
    LaterKey("serve.events", 1_000, since="0.2.0", also=("serve.connections",)),
    LaterKey("serve.infer_tokens", 8_192, since="0.2.0"),
    LaterKey("serve.infer_values", 4_000_000, since="0.2.0"),
    LaterKey("serve.rate_per_s", 200.0, since="0.2.0"),
    LaterKey("serve.burst", 400, since="0.2.0"),
    LaterKey("serve.body_bytes", 1 << 20, since="0.2.0"),
    LaterKey("serve.header_s", 10.0, since="0.2.0"),
    LaterKey("serve.header_bytes", 1 << 16, since="0.2.0"),
    LaterKey("serve.quiet_s", 15.0, since="0.2.0"),
    LaterKey("serve.database", "", since="0.2.0"),
    LaterKey("serve.operators", [], since="0.2.0"),
    LaterKey("experiments.name", "", since="0.2.0", also=("experiments.create", "experiments.decision")),
    LaterKey("experiments.arm", "", since="0.2.0", also=("experiments.because",)),
)


@dataclasses.dataclass(frozen=True)
class Source:
    """The origin of stored data, for errors.

    Attributes:
      what: a name of the data, such as "the checkpoint".
      of: what the data describe, such as "a run".
      where: the location, such as a file.
      written_by: the version of lob_jax that stored the data.
    """

    what: str
    of: str
    where: object
    written_by: str


def version() -> str:
    """Return the version of lob_jax, which is stored with all data."""
    return lob_jax.__version__


def lacked(stored: Iterable[str], wanted: Iterable[str], *, inside: str = "") -> dict[str, LaterKey]:
    """Return the later keys that stored data lack, by path.

    Args:
      stored: the paths of the stored data, such as "attention.kind".
      wanted: the paths of this version.
      inside: the prefix of these paths in `LaterKey.key`, such as "model.".
    """
    by_key = {key: later for later in LATER for key in (later.key, *later.also)}
    present = set(stored)
    return {path: by_key[inside + path] for path in wanted if path not in present and inside + path in by_key}


def completed(stored: Mapping[str, Any], wanted: Iterable[str], *, inside: str = "") -> dict[str, Any]:
    """Add to flat values the neutral values of the later keys that they lack; see `lacked`."""
    return {**stored, **{path: later.neutral for path, later in lacked(stored, wanted, inside=inside).items()}}


def whole(stored: Mapping[str, Any], wanted: Iterable[str], source: Source, *, inside: str = "") -> dict[str, Any]:
    """Return flat values for exactly the wanted paths: the stored ones, and the neutral values of later keys.

    Raises:
      InputError: a path is missing that is not a later key's, or this version does not know a stored path.
    """
    wanted = list(wanted)
    found = completed(stored, wanted, inside=inside)
    absent, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    refuse_newer(unknown, source)
    if absent or unknown:
        raise InputError(
            f"{source.what} is from another version of lob_jax",
            where=source.where,
            expected=f"everything that this version stores of {source.of}, {', '.join(absent) or 'and nothing else'}",
            was=f"without it, and with {', '.join(unknown) or 'nothing else'}",
            remedy=f"use the version that wrote it ({source.written_by}), or create it again in another --workdir",
        )
    return found


def refuse_newer(unknown: Iterable[str], source: Source) -> None:
    """Check that unknown keys were not stored by a newer version, whose keys may mean anything.

    Raises:
      InputError: they were; names both versions and the keys.
    """
    unknown = list(unknown)
    if unknown and _numbers(source.written_by) > _numbers(version()):
        raise InputError(
            f"{source.what} was written by a newer version of lob_jax, {source.written_by}; this is {version()}",
            where=source.where,
            expected=f"keys that version {version()} knows",
            was=", ".join(unknown),
            remedy=f"update lob_jax to version {source.written_by}",
        )


def _numbers(name: str) -> tuple[int, ...]:
    """Return a version's numbers for comparison: 0.10 is newer than 0.9."""
    release = re.split(r"[^\d.]", name, maxsplit=1)[0]  # without an ending such as "rc1"
    return tuple(int(number) for number in release.split(".") if number)


def remarks(lacked_keys: Iterable[LaterKey], source: Source) -> list[str]:
    """Return a sentence that says which values are assumed for keys that stored data lack, or nothing.

    Keys that say nothing of what was stored, such as the address of a server, are left out.
    """
    keys = {later.key: later for later in lacked_keys if not later.key.startswith(UNTOLD)}.values()
    if not keys:
        return []
    assumed = ", ".join(f"{later.key} = {later.neutral!r} (since {later.since})" for later in keys)
    return [f"{source.what} was written by lob_jax {source.written_by}, without keys that came later: {assumed}"]
