"""`Escape`: why a token of a real event is outside the set in its place."""

import enum


class Escape(enum.IntEnum):
    """Reasons why a token is outside its set, as counted in `TokenSets.outside`."""

    INSIDE = 0
    BEHIND_THE_FRONT = 1
    BEHIND_THE_BEST = 2
    OFF_THE_QUOTES = 3
    CROSSING = 4
    OUT_OF_VIEW = 5
    NO_LEVEL = 6
    NO_SUCH_ORDER = 7
    NOT_A_PART = 8
    TOO_MANY_LOTS = 9
    TOO_FAR = 10
    BELOW_THE_LOWEST_PRICE = 11
    NO_SIZE = 12
    IN_A_HALT = 13
    NOT_THE_NEXT_HALT = 14
    CLEARED = 15
    TIME_BACK = 16
    WRONG_RANK = 17

    def told(self) -> str:
        """Describe the reason in a phrase."""
        return _TOLD[self]


_TOLD = {
    Escape.INSIDE: "in its set",
    Escape.BEHIND_THE_FRONT: "an execution of more than the order at the front of the queue",
    Escape.BEHIND_THE_BEST: "an execution behind the best price",
    Escape.OFF_THE_QUOTES: "a hidden execution outside the quotes, or with an empty side",
    Escape.CROSSING: "a new order that reaches the opposite best price",
    Escape.OUT_OF_VIEW: "a new order behind the last level in view",
    Escape.NO_LEVEL: "a removal at a price without orders",
    Escape.NO_SUCH_ORDER: "a deletion of a size that no order there has",
    Escape.NOT_A_PART: "a cancellation of all that the largest order there has, or more",
    Escape.TOO_MANY_LOTS: "more lots than a level may hold",
    Escape.TOO_FAR: "a price too far from its reference",
    Escape.BELOW_THE_LOWEST_PRICE: "a price below the lowest valid one",
    Escape.NO_SIZE: "a size of 0",
    Escape.IN_A_HALT: "an order or a trade while a halt excludes it",
    Escape.NOT_THE_NEXT_HALT: "a halt or a resumption that does not change what is closed",
    Escape.CLEARED: "the feed clears the book",
    Escape.TIME_BACK: "time that runs backwards",
    Escape.WRONG_RANK: "a rank that no order has, or none although several orders fit",
}
