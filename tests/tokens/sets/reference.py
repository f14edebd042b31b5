"""The sets by brute force: every event that the book allows, spelled and matched with the tokens so far."""

import functools
import itertools

import numpy as np

from lob_jax.book.oracle import OracleBook
from lob_jax.events.schema import ASK, BID, Code, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import grammar_for
from lob_jax.tokens.numbers import write_number, write_price

SIDES = (BID, ASK)
CLOSES = {Code.HALT: 2, Code.RESUME_QUOTE: 1, Code.RESUME_TRADE: 0}


class Reference:
    """The sets in the places of tokens, one token after the other, in plain Python.

    Prices and sizes are bounded by `rules`, so that all of them can be listed.
    """

    def __init__(self, day, rules, *, closed, time_digits):
        self.day, self.rules, self.closed = day, rules, closed
        self.grammar = grammar_for(time_digits)
        self.state, self.event, self.cursor = self.grammar.start, -1, 0
        self.book = OracleBook(day.start)
        self.spelt, self.free, self.taken = [], False, True
        self.heads = None

    def next(self):
        """Return the set in the place of the next token, bool [V]."""
        allowed_V = self.grammar.allowed[self.state].copy()
        field = self.grammar.state_field[self.state]
        if field == v.FIELD_HEAD:
            allowed_V[np.flatnonzero(allowed_V)] = False
            allowed_V[[v.EOS, *self.head_tokens()]] = True
        elif field == v.FIELD_GAP_DIGITS:
            allowed_V[: v.CONTINUATION] &= np.isin(np.arange(v.CONTINUATION), [v.EOS, *self.head_tokens()])
        elif field == v.FIELD_GAP and not self.free:
            allowed_V[v.TIME_BACK] = False
        elif field in (v.FIELD_HEAD_DIGITS, v.FIELD_SIZE, v.FIELD_SIZE_DIGITS) and not self.free:
            allowed_V = np.zeros(v.VOCAB_SIZE, bool)
            allowed_V[self.continued()] = True
        return allowed_V

    def read(self, token, *, inside):
        """Go on behind a token."""
        if v.CLASS_SIZE <= token < v.CONTINUATION or v.FIRST_CONTROL <= token <= v.LAST_CONTROL:
            self.spelt, self.free, self.taken, self.event = [], False, False, self.event + 1
        self.state = self.grammar.transition[self.state, token]
        self.spelt.append(token)
        self.free |= not inside
        if not self.taken and (token >= v.TIME or token in (v.TIME_SKIP, v.TIME_BACK)):
            self.take()

    def head_tokens(self):
        if self.heads is None:
            spelled = [self.prices(kind, side) for kind in range(1, 7) for side in SIDES]
            controls = [v.CONTROL_BASE + code for code in Code if code and self.control(code)]
            self.heads = np.unique([*controls, *(row[0] for rows in spelled for row, _ in rows)]).astype(int)
        return self.heads

    def continued(self):
        """Return the tokens that follow those so far in an event that the book allows."""
        kind, side = self.spelt[0] // v.CLASS_SIZE, SIDES[self.spelt[0] % v.CLASS_SIZE // v.ASK_OFFSET]
        found, so_far = set(), tuple(self.spelt)
        for price, distance in self.prices(kind, side):
            if price[: len(so_far)] == so_far and len(price) > len(so_far):
                found.add(price[len(so_far)])
            elif so_far[: len(price)] == price:
                for size in self.spelled_sizes(kind, side, distance):
                    if size[: len(so_far) - len(price)] == so_far[len(price) :]:
                        rest = size[len(so_far) - len(price) :]
                        found.update(rest[:1] or (v.TIME_SKIP, *range(v.TIME, v.VOCAB_SIZE)))
        return sorted(found)

    def control(self, code):
        if code in CLOSES:
            return {Code.HALT: self.closed < 2, Code.RESUME_QUOTE: self.closed == 2}.get(code, self.closed > 0)
        return code != Code.CLEAR

    def price_of(self, kind, side, distance):
        unit = self.rules.tick if kind <= Kind.EXECUTE else 1
        return self.book.reference(side) - side * distance * unit

    @functools.cached_property
    def spans(self):
        return range(-self.rules.most_distance, self.rules.most_distance + 1)

    def prices(self, kind, side):
        """Return (tokens, distance) of every price of an event that the book allows."""
        if self.closed >= (1 if kind >= Kind.EXECUTE else 2):
            return []
        head = kind * v.CLASS_SIZE + (0 if side == BID else v.ASK_OFFSET)
        fits = [d for d in self.spans if self.sizes(kind, side, d)]
        return [(spelled_price(head, d), d) for d in fits]

    def sizes(self, kind, side, distance):
        """Return the sizes of the events that the book allows at a price, a range or a list."""
        price = self.price_of(kind, side, distance)
        best, opposite, most = self.book.best(side), self.book.best(-side), self.rules.most_lots
        queue = self.book.sides[side].get(price, [])
        if kind == Kind.ADD:
            crosses = opposite is not None and side * (opposite - price) <= 0
            low = price < self.rules.tick and not self.rules.signed
            levels = list(self.book.sides[side])
            full = 0 < self.book.window <= len(levels)
            unseen = full and side * price < min(side * level for level in levels)
            return range(0) if crosses or low or unseen else range(1, most - total(queue) + 1)
        if kind == Kind.CANCEL:
            return range(1, min(max(map(lots, queue), default=0) - 1, most) + 1)
        if kind == Kind.DELETE:
            divisible = max((lots(order) - 1 for order in queue if is_anonymous(order)), default=0)
            return [*range(1, min(divisible, most) + 1), *(lots(order) for order in queue if lots(order) <= most)]
        if kind == Kind.EXECUTE:
            return range(1, min(lots(queue[0]), most) + 1) if price == best else range(0)
        if kind == Kind.CROSS:
            return range(1, most + 1) if price > 0 or self.rules.signed else range(0)
        if best is None or opposite is None:
            return range(0)
        bounds = (best, opposite) if side * (opposite - best) >= 0 else (best, best)
        return range(1, most + 1) if min(bounds) <= price <= max(bounds) else range(0)

    def spelled_sizes(self, kind, side, distance):
        return [spelled_size(size) for size in self.sizes(kind, side, distance)]

    def take(self):
        self.taken, self.heads = True, None
        head = self.spelt[0]
        if head < v.CLASS_SIZE:
            code = Code(head - v.CONTROL_BASE)
            self.closed = CLOSES.get(code, self.closed)
            if code == Code.CLEAR:
                self.book.clear()
        else:
            kind, side = head // v.CLASS_SIZE, SIDES[head % v.CLASS_SIZE // v.ASK_OFFSET]
            distance, size = parsed(self.spelt)
            self.book.apply(kind, side, self.price_of(kind, side, distance), size, 0)
        corrections = self.day.corrections
        while self.cursor < len(corrections) and corrections.event[self.cursor] == self.event:
            row = (getattr(corrections, name)[self.cursor] for name in ("side", "price", "size"))
            self.book.correct(*map(int, row))
            self.cursor += 1


def reference_sets(tokens, day, rules, *, closed=0, time_digits=None):
    """Return bool [T, V]."""
    reference = Reference(day, rules, closed=closed, time_digits=time_digits)
    rows = []
    for token in tokens.tolist():
        rows.append(reference.next())
        reference.read(token, inside=rows[-1][token])
    return np.array(rows).reshape(-1, v.VOCAB_SIZE)


def lots(order):
    return order.size if hasattr(order, "size") else order[1]


def is_anonymous(order):
    return bool(getattr(order, "anonymous", False))


def total(queue):
    return sum(map(lots, queue))


@functools.cache
def spelled_price(head, distance):
    tokens = np.zeros(8, np.uint16)
    return tuple(tokens[: write_price(tokens, 0, head, distance)].tolist())


@functools.cache
def spelled_size(size):
    tokens = np.zeros(8, np.uint16)
    return tuple(tokens[: write_number(tokens, 0, v.SIZE, size)].tolist())


def parsed(spelt):
    """Return the distance and the size of an event's tokens, by their digits."""
    head, *rest = spelt
    low = head % v.ASK_OFFSET
    price, rest = [t for t in itertools.takewhile(lambda t: t // v.CLASS_SIZE == 7, rest)], rest
    rest = rest[len(price) :]
    groups = "".join(f"{t - v.CONTINUATION:03d}" for t in price)
    size_groups = itertools.takewhile(lambda t: t // v.CLASS_SIZE == 7, rest[1:])
    size = number(rest[0] - v.SIZE, "".join(f"{t - v.CONTINUATION:03d}" for t in size_groups))
    if low < v.BETTER_CODE:
        return number(low, groups), size
    if low < v.DEEPER_ESCAPE:
        return -number(low - v.BETTER_CODE + 1, groups), size
    if low < v.BETTER_ESCAPE:
        return int(groups.ljust(14, "0")[: low - v.DEEPER_ESCAPE + 5]), size
    return -int(groups.ljust(14, "0")[: low - v.BETTER_ESCAPE + 4]), size


def number(code, groups):
    """Return the number of a code with the digits that follow it."""
    lead, more = v.split_number_code(code)
    return int(f"{lead}{groups.ljust(12, '0')[:more]}")
