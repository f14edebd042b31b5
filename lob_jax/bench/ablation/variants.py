"""The variants that `lob_jax.bench.ablation` compares: each is a reference with a few settings changed.

The masked objective is not among them: it predicts hidden tokens from both sides, so that it has no bits per event of
the next one, generates nothing, and reads none of the inputs of the reference that know the past.
"""

from collections.abc import Mapping

from lob_jax.bench.variant import LEARNING_RATE, Variant

REFERENCE, GONE_ON = "plain", "gone_on"
_AUGMENT = "data.augment."
_GENTLE = {"train.learning_rate": LEARNING_RATE / 4}  # as in configs/own_flow.py
# In the order in which they run: the first answers are those that cost nothing to use.
VARIANTS: Mapping[str, Variant] = {
    REFERENCE: Variant({}, None, "next tokens, no augmentation"),
    "mirror": Variant({"data.mirror": True}, REFERENCE, "side symmetry; reads other windows in another order"),
    "warp": Variant({f"{_AUGMENT}warp": 0.3}, REFERENCE, "time warping"),
    "event_dropout": Variant({f"{_AUGMENT}event_dropout": 0.1}, REFERENCE, "event dropout"),
    "token_dropout": Variant({f"{_AUGMENT}token_dropout": 0.1}, REFERENCE, "token dropout"),
    "mixup": Variant({"train.mixup": 0.2}, REFERENCE, "mixup of embeddings and losses"),
    "manipulated": Variant({f"{_AUGMENT}manipulation": 0.3}, REFERENCE, "windows with spliced manipulations"),
    "synthetic": Variant({f"{_AUGMENT}synthetic": 0.25}, REFERENCE, "windows of the simulator's flow"),
    "fgm": Variant({"train.adversarial": "fgm"}, REFERENCE, "adversarial, one step"),
    "multi_task": Variant(
        {"model.heads.outlook_events": (10, 20, 50, 100), "train.task_weights": "learned"},
        REFERENCE,
        "direction and volatility ahead, weighted by uncertainty",
    ),
    "contrastive_regimes": Variant({"model.heads.contrastive_size": 64}, REFERENCE, "InfoNCE over regimes"),
    "contrastive_views": Variant(
        {"model.heads.contrastive_size": 64, "train.contrastive_views": "augmented"},
        REFERENCE,
        "InfoNCE over two views",
    ),
    "pgd": Variant({"train.adversarial": "pgd", "train.adversarial_steps": 2}, REFERENCE, "adversarial, two steps"),
    # Heads for further tokens and a pointer exclude each other, so that these have a reference of their own.
    "no_pointer": Variant({"model.pointer": False}, None, "the reference of next_tokens"),
    "next_tokens": Variant(
        {"model.pointer": False, "model.heads.next_tokens": 4}, "no_pointer", "four tokens ahead, without a pointer"
    ),
    # What starts from a trained run is compared with the same steps from there: further training helps by itself.
    GONE_ON: Variant(_GENTLE, None, "the reference of own_flow: goes on from plain, as if on new data", REFERENCE),
    "own_flow": Variant(
        _GENTLE | {f"{_AUGMENT}own_flow": 0.5},
        GONE_ON,
        "goes on from plain, on flow of its own",
        REFERENCE,
    ),
}
REFERENCES = {name: one.reference for name, one in VARIANTS.items() if one.reference is not None}


def with_references(names: list[str]) -> list[str]:
    """Return names of variants, their references, and what either starts from, in the order of VARIANTS."""
    wanted = {*names, *(REFERENCES[name] for name in names if name in REFERENCES)}
    wanted |= {start for name in wanted if (start := VARIANTS[name].start) is not None}
    return [name for name in VARIANTS if name in wanted]
