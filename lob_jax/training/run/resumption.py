"""What of a run stays and what changes when it goes on from a checkpoint, and how that is told."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from lob_jax.errors import flat
from lob_jax.later_keys import Source, lacked
from lob_jax.later_keys import remarks as remarks_on
from lob_jax.training.run.checkpoint import US, Meta
from lob_jax.training.run.identity import WINDOWS_A_STEP, changes

VALIDATION = "the validation windows"  # as a key of the history: what they are is told by a digest


def at_step(about: Meta, step: int, **told: Any) -> Meta:
    """Return what a checkpoint of a later step says of itself: the windows read since, and what is told of it."""
    read = about.position["windows_read"] + (step - about.step) * about.identity[WINDOWS_A_STEP]
    return dataclasses.replace(about, step=step, position={**about.position, "windows_read": read}, **told)


def gone_on_with(latest: Meta, fresh: Meta) -> Meta:
    """Return what a run says of itself that goes on from a checkpoint with the settings of this call.

    What changed is added to the history. Where validations are measured on something else, early stopping begins
    anew; so does the choice of the best, see `checkpoint.ranked`.
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
    )


def kept(about: Meta) -> dict[str, Any]:
    """Return the values by key that a checkpoint keeps of a run, to be compared with those of another start."""
    return {**flat(about.identity), **about.changeable, **about.rounding}


def taken_as_neutral(saved: Meta, wanted: Iterable[str]) -> list[str]:
    """Return what to say of the wanted keys that came since a checkpoint was saved, and had their neutral values."""
    source = Source("the checkpoint", of="a run", where=f"step {saved.step}", written_by=saved.versions[US])
    return remarks_on(lacked(kept(saved), wanted).values(), source)


def resumption(latest: Meta, about: Meta) -> list[str]:
    """Return the sentences that a resumed run begins with: what may keep it from being equal, and what is changed."""
    cautions = [
        f"{name} {before} is now {now}"
        for name, (before, now) in (
            changes(latest.versions, about.versions) | changes(latest.rounding, about.rounding)
        ).items()
    ]
    if about.micro_batch != latest.micro_batch:
        cautions.append(f"micro-batches of {latest.micro_batch} windows are now of {about.micro_batch}")
    caution = f"; equal up to rounding only, since {', '.join(cautions)}" if cautions else ""
    sentences = [f"going on from step {latest.step}{caution}", *taken_as_neutral(latest, kept(about))]
    changed = changes(latest.changeable, about.changeable)
    if changed:
        listed = ", ".join(f"{key} {before} -> {now}" for key, (before, now) in changed.items())
        sentences.append(f"from step {latest.step}: {listed}")
    if latest.measure != about.measure:
        sentences.append(
            f"from step {latest.step}: validation is measured on something else; early stopping and the choice of the"
            " best checkpoint begin anew"
        )
    return sentences
