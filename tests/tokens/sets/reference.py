"""The sets by brute force: every event that the book allows, spelled and matched with the tokens so far."""

import functools

import numpy as np

from lob_jax.book.oracle import OracleBook
from lob_jax.events.schema import ANONYMOUS_ID, ASK, BID, Code, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.grammar import grammar_for
from lob_jax.tokens.numbers import write_number, write_price

SIDES = (BID, ASK)
CLOSES = {Code.HALT: 2, Code.RESUME_QUOTE: 1, Code.RESUME_TRADE: 0}
FAR, LOTS = 12_000, 1_200  # bounds under which all events can be listed
NUMBER_FIELDS = (v.FIELD_HEAD_DIGITS, v.FIELD_SIZE, v.FIELD_SIZE_DIGITS)


@functools.cache
def spelled(what):
    """Return the tokens of all distances -FAR..FAR, or of all sizes 0..LOTS, int [N, 5], -1 behind the last."""
    numbers = range(-FAR, FAR + 1) if what == "price" else range(LOTS + 1)
    rows, tokens = np.full((len(numbers), 5), -1), np.zeros(5, np.uint16)
    for row, number in zip(rows, numbers, strict=True):
        end = write_price(tokens, 0, 0, number) if what == "price" else write_number(tokens, 0, v.SIZE, number)
        row[:end] = tokens[:end]
    return rows


def continued(rows, so_far):
    """Return the next tokens of the rows that begin with some tokens; -1 if one ends there."""
    begins = (rows[:, : len(so_far)] == so_far).all(1)
    return np.unique(rows[begins, len(so_far)])


class Reference:
    """The sets in the places of tokens, one token after the other."""

    def __init__(self, day, rules, *, closed, time_digits):
        self.day, self.rules, self.closed = day, rules, closed
        self.grammar = grammar_for(time_digits, "rank" if rules.ranks else "newest")
        self.state, self.event, self.cursor = self.grammar.start, -1, 0
        self.book = OracleBook(day.start.identified() if rules.ranks else day.start)
        self.spelt, self.free, self.taken = [], False, True
        self.known = {}  # the distances of events, by kind and side, until the book changes

    def next(self):
        """Return the set in the place of the next token, bool [V]."""
        allowed_V = self.grammar.allowed[self.state].copy()
        field = self.grammar.state_field[self.state]
        if field in (v.FIELD_HEAD, v.FIELD_GAP_DIGITS):
            allowed_V[: v.CONTINUATION] &= self.heads()
        elif field == v.FIELD_GAP and not self.free:
            allowed_V[v.TIME_BACK] = False
        elif field == v.FIELD_RANK and not self.free:
            allowed_V[:] = False
            allowed_V[self.behind_size()] = True
        elif field in NUMBER_FIELDS and not self.free:
            allowed_V[:] = False
            allowed_V[self.next_digits()] = True
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

    def heads(self):
        allowed_V = np.zeros(v.CONTINUATION, bool)
        allowed_V[v.EOS] = True
        for code in Code:
            allowed_V[v.CONTROL_BASE + code] = code != Code.NONE and self.control(code)
        for kind in range(1, 7):
            for s, side in enumerate(SIDES):
                found = spelled("price")[self.distances(kind, side) + FAR, 0]
                allowed_V[kind * v.CLASS_SIZE + s * v.ASK_OFFSET + found] = True
        return allowed_V

    def next_digits(self):
        """Return the tokens that follow those so far in an event that the book allows."""
        kind, low = divmod(self.spelt[0], v.CLASS_SIZE)
        side, price = SIDES[low // v.ASK_OFFSET], [low % v.ASK_OFFSET, *self.spelt[1:]]
        digits = next((k for k, token in enumerate(price) if token >= v.SIZE), len(price))
        distances = self.distances(kind, side)
        rows = spelled("price")[distances + FAR]
        found = continued(rows, price) if digits == len(price) else np.array([-1])
        complete = distances[continued_rows(rows, price[:digits])]
        if -1 not in found or not len(complete):
            return found[found >= 0]
        after = continued(spelled("size")[list(self.sizes(kind, side, int(complete[0])))], price[digits:])
        behind = self.behind_size() if -1 in after else []
        return np.concatenate([found[found >= 0], after[after >= 0], behind]).astype(int)

    def behind_size(self):
        """Return the tokens behind a complete size: ranks if a removal fits several orders, else those of a gap."""
        kind, side, price, size = self.event_so_far()
        count = len(ranked(self.book.sides[side].get(price, []), kind, size)) if self.rules.ranks else 0
        if count > 1:
            return [v.RANK_BASE + rank for rank in range(count)]
        return [v.TIME_SKIP, *range(v.TIME, v.VOCAB_SIZE)]

    def event_so_far(self):
        kind, side = self.spelt[0] // v.CLASS_SIZE, SIDES[self.spelt[0] % v.CLASS_SIZE // v.ASK_OFFSET]
        distance, size = parsed(self.spelt)
        return kind, side, self.book.reference(side) - side * distance * self.unit(kind), size

    def control(self, code):
        if code in CLOSES:
            return {Code.HALT: self.closed < 2, Code.RESUME_QUOTE: self.closed == 2}.get(code, self.closed > 0)
        return code != Code.CLEAR

    def unit(self, kind):
        return self.rules.tick if kind <= Kind.EXECUTE else 1

    def distances(self, kind, side):
        """Return the distances of the events of a kind that the book allows, ascending."""
        if (kind, side) not in self.known:
            self.known[kind, side] = self.find_distances(kind, side)
        return self.known[kind, side]

    def find_distances(self, kind, side):
        if self.closed >= (1 if kind >= Kind.EXECUTE else 2):
            return np.zeros(0, int)
        every = np.arange(-FAR, FAR + 1)
        origin = self.book.reference(side)
        price = origin - side * every * self.unit(kind)
        best, opposite = self.book.best(side), self.book.best(-side)
        levels = sorted(self.book.sides[side], key=lambda level: side * (origin - level))
        if kind == Kind.ADD:
            fits = np.full(len(every), True) if opposite is None else side * (opposite - price) > 0
            fits &= (price >= self.rules.tick) | bool(self.rules.signed)
            if 0 < self.book.window <= len(levels):
                fits &= side * price >= min(side * level for level in levels)
            full = [level for level in levels if not self.sizes(kind, side, side * (origin - level) // self.rules.tick)]
            return every[fits & ~np.isin(price, full)]
        if kind == Kind.CROSS:
            return every[(price > 0) | bool(self.rules.signed)]
        if kind == Kind.EXECUTE_HIDDEN:
            if best is None or opposite is None:
                return np.zeros(0, int)
            return every[(side * (price - best) >= 0) & (side * price <= max(side * opposite, side * best))]
        if kind == Kind.EXECUTE:
            return np.array([0] if levels else [], int)
        found = np.array([side * (origin - level) // self.rules.tick for level in levels], int)
        return np.array([d for d in found.tolist() if d <= FAR and self.sizes(kind, side, d)], int)

    def sizes(self, kind, side, distance):
        """Return the sizes of the events that the book allows at an allowed price."""
        price, most = self.book.reference(side) - side * distance * self.unit(kind), self.rules.most_lots
        queue = self.book.sizes(side, price)
        if kind == Kind.DELETE:
            orders = self.book.sides[side].get(price, [])
            divisible = max((order.size - 1 for order in orders if order.anonymous), default=0)
            return sorted({*range(1, min(divisible, most) + 1), *(size for size in queue if size <= most)})
        if kind == Kind.ADD:
            return range(1, most - sum(queue) + 1)
        if kind == Kind.CANCEL:
            return range(1, min(max(queue) - 1, most) + 1)
        return range(1, min(queue[0], most) + 1) if kind == Kind.EXECUTE else range(1, most + 1)

    def take(self):
        self.taken, self.known = True, {}
        head = self.spelt[0]
        if head < v.CLASS_SIZE:
            code = Code(head - v.CONTROL_BASE)
            self.closed = CLOSES.get(code, self.closed)
            if code == Code.CLEAR:
                self.book.clear()
        else:
            kind, side, price, size = self.event_so_far()
            self.book.apply(kind, side, price, size, self.order_id(kind, side, price, size))
        corrections = self.day.corrections
        while self.cursor < len(corrections) and corrections.event[self.cursor] == self.event:
            row = (getattr(corrections, name)[self.cursor] for name in ("side", "price", "size"))
            self.book.correct(*map(int, row))
            self.cursor += 1

    def order_id(self, kind, side, price, size):
        """Return the id of the order that the event adds or takes from; 0 without ranks."""
        if not self.rules.ranks or kind > Kind.EXECUTE:
            return 0
        if kind == Kind.ADD:
            return 10**6 + self.event
        rank = next((token - v.RANK_BASE for token in self.spelt if v.RANK_BASE <= token < v.RANK_ESCAPE), 0)
        queue = self.book.sides[side].get(price, [])
        orders = queue[:1] if kind == Kind.EXECUTE else ranked(queue, kind, size)[rank : rank + 1]
        return next((ANONYMOUS_ID if order.anonymous else order.order_id for order in orders), 0)


def ranked(queue, kind, size):
    """Return the orders of a queue that a removal may mean, by rank."""
    newest_first = [order for order in queue[::-1] if not order.own]
    exact = [order for order in newest_first if order.size == size]
    larger = [order for order in newest_first if order.size > size]
    found = {Kind.CANCEL: larger, Kind.DELETE: [*exact, *(order for order in larger if order.anonymous)]}.get(kind, [])
    unknown = [order for order in found if order.anonymous]
    return [order for order in found if not order.anonymous or order is unknown[0]]


def continued_rows(rows, tokens):
    """Return whether each row consists of some tokens alone."""
    return (rows[:, : len(tokens)] == tokens).all(1) & (rows[:, len(tokens)] < 0)


def parsed(spelt):
    """Return the distance and the size of an event's tokens, from the digits of its numbers."""
    # Digits behind a rank belong to it, in an event that the book does not allow also where a size could go on.
    end = next((k for k, token in enumerate(spelt) if v.RANK_BASE <= token < v.RANK_END), len(spelt))
    spelt = spelt[:end]
    at = next(k for k, token in enumerate(spelt) if v.SIZE <= token < v.TIME)
    low = spelt[0] % v.ASK_OFFSET
    price, size = (
        "".join(f"{token - v.CONTINUATION:03d}" for token in part if v.CONTINUATION <= token < v.SIZE)
        for part in (spelt[1:at], spelt[at:])
    )
    if low < v.BETTER_CODE:
        distance = number(low, price)
    elif low < v.DEEPER_ESCAPE:
        distance = -number(low - v.BETTER_CODE + 1, price)
    elif low < v.BETTER_ESCAPE:
        distance = int(price.ljust(15, "0")[: low - v.DEEPER_ESCAPE + v.DEEPER_ESCAPE_DIGITS])
    else:
        distance = -int(price.ljust(15, "0")[: low - v.BETTER_ESCAPE + v.BETTER_ESCAPE_DIGITS])
    return distance, number(spelt[at] - v.SIZE, size)


def number(code, digits):
    """Return the number of a code with the digits that follow it."""
    lead, more = v.split_number_code(code)
    return int(f"{lead}{digits.ljust(15, '0')[:more]}")


def reference_sets(tokens, day, rules, *, closed=0, time_digits=None):
    """Return bool [T, V]."""
    reference = Reference(day, rules, closed=closed, time_digits=time_digits)
    rows = []
    for token in tokens.tolist():
        rows.append(reference.next())
        reference.read(token, inside=rows[-1][token])
    return np.array(rows).reshape(-1, v.VOCAB_SIZE)
