"""Determine what changes when a run is resumed from a checkpoint, and describe it."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from lob_jax.errors import flat
from lob_jax.later_keys import Source, lacked
from lob_jax.later_keys import remarks as remarks_on
from lob_jax.training.run.checkpoint import US, Meta
from lob_jax.training.run.identity import WINDOWS_A_STEP, changes

VALIDATION = "the validation windows"  # key of the history; its values are digests


def at_step(about: Meta, step: int, **changed: Any) -> Meta:
    """Return the metadata for a checkpoint of a later step: windows read until then, and the given fields."""
    read = about.position["windows_read"] + (step - about.step) * about.identity[WINDOWS_A_STEP]
    return dataclasses.replace(about, step=step, position={**about.position, "windows_read": read}, **changed)


def gone_on_with(latest: Meta, fresh: Meta) -> Meta:
    """Return the metadata of a run that is resumed from checkpoint `latest` with the settings in `fresh`.

    Changes are added to the history. If validation is measured on something else, early stopping starts over; so does
    the choice of the best checkpoint, see `checkpoint.ranked`.
    """
    changed = changes(latest.changeable, fresh.changeable) | changes(latest.rounding, fresh.rounding)
    same = latest.measure == fresh.measure
    if not same:
        changed[VALIDATION] = [latest.measure, fresh.measure]
    return dataclasses.replace(
        fresh,
        step=latest.step,
        validation_loss=latest.validation_loss,
        position=latest.position,
        early_stopping=latest.early_stopping if same else fresh.early_stopping,
        history=[*latest.history, {"step": latest.step, "changed": changed}] if changed else latest.history,
        micro_batch=latest.micro_batch,
        source=latest.source,
    )


def kept(about: Meta) -> dict[str, Any]:
    """Return the values, by key, that a checkpoint records of its run, for comparison with those of another start."""
    return {**flat(about.identity), **about.changeable, **about.rounding}


def taken_as_neutral(saved: Meta, wanted: Iterable[str]) -> list[str]:
    """Return remarks on wanted keys that are newer than a checkpoint, which had their neutral values."""
    source = Source("the checkpoint", of="a run", where=f"step {saved.step}", written_by=saved.versions[US])
    return remarks_on(lacked(kept(saved), wanted).values(), source)


def resumption(latest: Meta, about: Meta) -> list[str]:
    """Return the first messages of a resumed run: what may make its numbers differ, and which settings changed."""
    cautions = [
        f"{name} {before} is now {now}"
        for name, (before, now) in (
            changes(latest.versions, about.versions) | changes(latest.rounding, about.rounding)
        ).items()
    ]
    if about.micro_batch != latest.micro_batch:
        cautions.append(f"micro-batches of {latest.micro_batch} windows now have {about.micro_batch}")
    caution = f"; equal up to rounding only, since {', '.join(cautions)}" if cautions else ""
    sentences = [f"resuming from step {latest.step}{caution}", *taken_as_neutral(latest, kept(about))]
    changed = changes(latest.changeable, about.changeable)
    if changed:
        listed = ", ".join(f"{key} {before} -> {now}" for key, (before, now) in changed.items())
        sentences.append(f"from step {latest.step}: {listed}")
    if latest.measure != about.measure:
        sentences.append(
            f"from step {latest.step}: validation is measured on something else; early stopping and the choice of the"
            " best checkpoint start over"
        )
    return sentences
