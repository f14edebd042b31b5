"""The variants that `lob_jax.bench.ablation` compares: each is a reference with a few settings changed.

The masked objective is not among them: it predicts hidden tokens from both sides, so that it has no bits per event of
the next one, generates nothing, and reads none of the inputs of the reference that know the past.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

BASE = "lobster_day"  # of the configuration that is changed by COMMON
REFERENCE = "plain"
COMMON = {
    "data.mirror": False,
    "model.d_model": 64,
    "model.n_layers": 3,
    "model.d_ff": 256,
    "model.dropout": 0.1,
    "train.batch_size": 8,
    "train.warmup_steps": 30,
    "train.optimizer": "muon",  # of tiny, which is of this size
    "train.learning_rate": 5e-3,
    "train.log_every": 25,
    "train.validation_windows": 64,
    "train.keep_best": 1,
    "generate.paths": 1,
    "score.splits": 50,
    "score.resamples": 2,  # the intervals of a single cell are not used
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A variant of the reference.

    Attributes:
      changes: the settings that differ from COMMON, by key.
      reference: name of the variant that it is compared with; None for a reference.
      about: what it is, in words.
    """

    changes: Mapping[str, Any]
    reference: str | None = REFERENCE
    about: str = ""


_AUGMENT = "data.augment."
# In the order in which they run: the first answers are those that cost nothing to use.
VARIANTS: Mapping[str, Variant] = {
    REFERENCE: Variant({}, None, "next tokens, no augmentation"),
    "mirror": Variant({"data.mirror": True}, about="side symmetry; reads other windows in another order"),
    "warp": Variant({f"{_AUGMENT}warp": 0.3}, about="time warping"),
    "event_dropout": Variant({f"{_AUGMENT}event_dropout": 0.1}, about="event dropout"),
    "token_dropout": Variant({f"{_AUGMENT}token_dropout": 0.1}, about="token dropout"),
    "mixup": Variant({"train.mixup": 0.2}, about="mixup of embeddings and losses"),
    "manipulated": Variant({f"{_AUGMENT}manipulation": 0.3}, about="windows with spliced manipulations"),
    "synthetic": Variant({f"{_AUGMENT}synthetic": 0.25}, about="windows of the simulator's flow"),
    "fgm": Variant({"train.adversarial": "fgm"}, about="adversarial, one step"),
    "multi_task": Variant(
        {"model.heads.outlook_events": (10, 20, 50, 100), "train.task_weights": "learned"},
        about="direction and volatility ahead, weighted by uncertainty",
    ),
    "contrastive_regimes": Variant({"model.heads.contrastive_size": 64}, about="InfoNCE over regimes"),
    "contrastive_views": Variant(
        {"model.heads.contrastive_size": 64, "train.contrastive_views": "augmented"}, about="InfoNCE over two views"
    ),
    "pgd": Variant({"train.adversarial": "pgd", "train.adversarial_steps": 2}, about="adversarial, two steps"),
    # Heads for further tokens and a pointer exclude each other, so that these have a reference of their own.
    "no_pointer": Variant({"model.pointer": False}, None, "the reference of next_tokens"),
    "next_tokens": Variant(
        {"model.pointer": False, "model.heads.next_tokens": 4}, "no_pointer", "four tokens ahead, without a pointer"
    ),
}
REFERENCES = {name: one.reference for name, one in VARIANTS.items() if one.reference is not None}


def with_references(names: list[str]) -> list[str]:
    """Return names of variants and their references, in the order of VARIANTS."""
    wanted = {*names, *(REFERENCES[name] for name in names if name in REFERENCES)}
    return [name for name in VARIANTS if name in wanted]
