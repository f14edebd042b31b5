"""What generation returns: the tokens of each path, the book at its end, and what became of the user's orders."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lob_jax.book.snapshot import Corrections
from lob_jax.errors import InputError
from lob_jax.generation.settings import Order

_NOTHING_LEFT = "nothing was left to execute"
_NO_ROOM = "the live book had no room for it"
_NOT_SENT = ("it waited for an earlier order", "trading was halted", "the path ended before its time")


@dataclasses.dataclass(frozen=True)
class Fill:
    """An execution of an order, or of a part of it.

    Attributes:
      time_ns: time of the execution, UNIX ns.
      price: price quanta.
      lots: lots executed.
      resting: whether the order was resting in the book; if not, it executed an order of the other side on arrival.
    """

    time_ns: int
    price: int
    lots: int
    resting: bool


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of an order in one path.

    If the order was sent, `filled`, `rested` and `dropped` add up to its size. The lots of `fills` on arrival add up to
    `filled`; those of the other fills add up to `rested`, together with `left` and `unseen`.

    Attributes:
      sent: whether the order was sent before the path ended.
      filled: lots executed on arrival.
      rested: lots then added to the book at the limit.
      dropped: lots neither filled nor rested.
      why: why lots were dropped or the order was not sent; otherwise empty.
      fills: all executions of the order, in order of time.
      left: lots that still rest at the end of the path.
      unseen: lots that rested at a level of a windowed book when it left the view: they are not followed any more.
    """

    sent: bool
    filled: int
    rested: int
    dropped: int
    why: str = ""
    fills: tuple[Fill, ...] = ()
    left: int = 0
    unseen: int = 0


class Sent(NamedTuple):
    """What became of the user's orders in one path by its end, apart from their executions.

    Attributes:
      following: number of the current or next order.
      left: lots of the current order that are not matched yet; 0 before it is due.
      lots: lots filled, rested and dropped of each order.
      closed: what a halt has closed.
      resting: lots of each order that rest in the book.
    """

    following: int
    left: int
    lots: list[tuple[int, int, int]]
    closed: int
    resting: list[int]


def outcomes_of(orders: Sequence[Order], sent: Sent, *, fills: Sequence[Sequence[Fill]]) -> list[Outcome]:
    """Return the outcome of each order at the end of one path.

    Args:
      orders: all orders.
      sent: what became of them.
      fills: the executions of each.
    """
    found = []
    for number, (order, done, (filled, rested, dropped)) in enumerate(zip(orders, fills, sent.lots, strict=True)):
        cut = sent.left if number == sent.following else 0
        is_sent = number < sent.following or cut > 0
        if not is_sent:
            why = _NOT_SENT[0 if number > sent.following else 1 if sent.closed else 2]
        elif cut:
            why = "the path ended"
        else:
            why = "" if not dropped else _NOTHING_LEFT if order.price is None else _NO_ROOM
        left = sent.resting[number]
        unseen = rested - left - sum(fill.lots for fill in done if fill.resting)
        found.append(Outcome(is_sent, filled, rested, dropped + cut, why, tuple(done), left, unseen))
    return found


@dataclasses.dataclass(frozen=True)
class Generated:
    """The generated paths; those of one prompt are adjacent.

    Attributes:
      tokens: for each path, int32 [T], the tokens of complete events, without the prompt.
      own: for each path, bool [T], whether a token belongs to one of the user's orders.
      grammar_mass: float32 [B], probability that the grammar masked, on average per sampled token.
      book_mass: float32 [B], share of the remaining probability that the book masked, on average per sampled token.
      clock_ns: each path's clock after its last event, UNIX ns.
      levels: each path's book after its last event, see `live_book.to_levels`.
      orders: for each path, the outcome of each of the user's orders.
      corrections: for each path, the levels that came into view, at the event of the path that another one went with.
      remembered: int64 [B], how many of them had been in view before; the others were drawn.
    """

    tokens: list[np.ndarray]
    own: list[np.ndarray]
    grammar_mass: np.ndarray
    book_mass: np.ndarray
    clock_ns: list[int]
    levels: list[list[list[tuple[int, list[int]]]]]
    orders: list[list[Outcome]]
    corrections: list[Corrections]
    remembered: np.ndarray


def check_refused(refused: int) -> None:
    """Check that the live book accepted all events, as the masks guarantee.

    Raises:
      InputError: it refused one.
    """
    if refused:
        raise InputError(
            "the live book could not accept an event",
            where="generation",
            expected="events that the masks allow, all of which it accepts",
            was=f"{refused} refused",
            remedy="this is a bug in lob_jax: please report it with the command and its seed",
        )
