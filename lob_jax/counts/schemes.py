"""The chains of contexts of each decision: which items they add, in which order."""

import enum

from lob_jax.counts.candidates import View
from lob_jax.counts.watch import Item as I


class Decide(enum.IntEnum):
    """What is decided; a number's further digits are two decisions, see `digits.py`."""

    ACTION = 0
    PRICE = 1
    SIZE = 2
    CLASS = 3
    FINE = 4
    VIEW = 5  # + a View
    END = 10
    GROUP = 11


ACTION_CHAINS = (
    (I.ACTION_1, I.HEAD_1, I.HEAD_2, I.HEAD_3, I.HEAD_4),
    (I.ACTION_1, I.PACE_1, I.STILL_1, I.ACTION_2, I.PACE_2, I.ACTION_3),
    (I.ACTION_1, I.STILL_1, I.SPREAD, I.IMBALANCE, I.TOUCH, I.PACE_1),
    (I.ACTION_1, I.ACTION_2, I.ACTION_3, I.ACTION_4, I.PACE_1, I.PLACE_1),
    (I.ACTION_1, I.TRADE, I.PACE_1, I.PLACE_1, I.SIZE_1, I.PLACE_2),
    (I.IMBALANCE, I.SPREAD, I.TOUCH, I.ACTION_1, I.CLASS_1, I.BURST),
    (I.ACTION_1, I.STILL_1, I.SIZE_1, I.ACTION_2, I.SIZE_2, I.PACE_1),
)
PRICE_CHAINS = (
    (I.ACTION, I.HEAD_1, I.HEAD_2, I.HEAD_3),
    (I.ACTION, I.OWN_KIND_1, I.OWN_DISTANCE_1, I.OWN_AGO_1, I.OWN_DISTANCE_2, I.OWN_KIND_2),
    (I.ACTION, I.SPREAD, I.STEP, I.QUEUE_1, I.OWN_DISTANCE_1),
    (I.ACTION, I.OWN_DISTANCE_1, I.ACTION_1, I.PACE_1, I.SPREAD),
)
PRICE_VIEWS = (
    (View.RANK, (I.ACTION, I.OWN_PLACE_1, I.OWN_KIND_1, I.OWN_AGO_1, I.PACE_1, I.OWN_PLACE_2)),
    (View.RANK, (I.ACTION, I.QUEUE_1, I.QUEUE_2, I.STEP, I.SPREAD, I.ACTION_1)),
    (View.OFFSET, (I.ACTION, I.OWN_KIND_1, I.OWN_AGO_1, I.OWN_PLACE_1, I.PACE_1, I.ACTION_1)),
    (View.NEAR, (I.ACTION, I.OWN_KIND_1, I.OWN_PLACE_1, I.OWN_AGO_1, I.PACE_1, I.OWN_PLACE_2)),
    (View.NEAR, (I.ACTION, I.SPREAD, I.STEP, I.QUEUE_1, I.ACTION_1, I.IMBALANCE)),
    (View.RECENT, (I.ACTION, I.OWN_KIND_1, I.OWN_AGO_1, I.OWN_KIND_2, I.PACE_1, I.OWN_PLACE_1)),
)
SIZE_CHAINS = (
    (I.ACTION, I.HEAD_NOW, I.SIZE_1, I.HEAD_1, I.SIZE_2),
    (I.ACTION, I.PLACE_NOW, I.BACK_1, I.QUEUE_NOW, I.BACK_2),
    (I.ACTION, I.REMOVED, I.OWN_KIND_1, I.OWN_AGO_1, I.ADDED),
    (I.ACTION, I.FRONT_1, I.QUEUE_NOW, I.SAME, I.SIZE_1),
    (I.ACTION, I.SAME, I.OWN_SIZE_1, I.OWN_KIND_1, I.PACE_1),
)
SIZE_VIEWS = (
    (View.QUEUE, (I.ACTION, I.QUEUE_NOW, I.SAME, I.OWN_KIND_1, I.BACK_1, I.BACK_2)),
    (View.QUEUE, (I.ACTION, I.OWN_KIND_1, I.OWN_AGO_1, I.PLACE_NOW, I.PACE_1)),
    (View.QUEUE, (I.ACTION, I.BACK_1, I.FRONT_1, I.REMOVED, I.ADDED)),
)
CLASS_CHAINS = (
    (I.ACTION, I.CLASS_1, I.ACTION_1, I.CLASS_2, I.PACE_3),
    (I.ACTION, I.PACE_1, I.PACE_2, I.PACE_3, I.ACTION_1),
    (I.ACTION, I.EFFECT, I.AGE, I.PACE_1, I.ACTION_1),
    (I.HEAD_NOW, I.SIZE_NOW, I.PACE_1, I.HEAD_1),
    (I.ACTION, I.BURST, I.PLACE_NOW, I.SAME, I.ACTION_1, I.SIZE_NOW),
    (I.ACTION, I.ACTION_1, I.SAME, I.EFFECT, I.PLACE_1, I.CLASS_1),
    (I.CLASS_1, I.CLASS_2, I.ACTION, I.ACTION_1, I.ACTION_2),
    (I.ACTION, I.PLACE_NOW, I.SIZE_NOW, I.ACTION_1, I.PLACE_1, I.SIZE_1),
    (I.ACTION, I.OWN_KIND_1, I.OWN_DISTANCE_1, I.OWN_AGO_1, I.PACE_1, I.SIZE_NOW),
)
FINE_CHAINS = (
    (I.ACTION, I.HEAD_NOW, I.SIZE_NOW),
    (I.ACTION, I.CLASS_1, I.ACTION_1),
)
END_CHAIN = (I.ACTION, I.LEAD, I.DIGITS_1, I.DIGITS_2)
GROUP_CHAIN = (I.LEAD, I.DIGITS_1, I.DIGITS_2, I.ACTION)
ACTION, PRICE, SIZE, CLASS, FINE, VIEW, END, GROUP = (int(one) for one in Decide)


def all_chains() -> list[tuple[int, tuple[I, ...]]]:
    """Return all chains, each with its decision; for the slots of a view, that is VIEW + the view."""
    plain = {
        ACTION: ACTION_CHAINS,
        PRICE: PRICE_CHAINS,
        SIZE: SIZE_CHAINS,
        CLASS: CLASS_CHAINS,
        FINE: FINE_CHAINS,
        END: (END_CHAIN,),
        GROUP: (GROUP_CHAIN,),
    }
    of_codes = [(decision, items) for decision, chains in plain.items() for items in chains]
    return of_codes + [(VIEW + int(view), items) for view, items in (*PRICE_VIEWS, *SIZE_VIEWS)]
