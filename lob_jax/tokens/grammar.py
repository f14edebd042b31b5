"""The finite automaton of exact token streams: which token may follow, so that events have exactly one spelling.

An event is `[head][digits]* [size][digits]* [rank][digits]? [TIME_BACK]? [TIME_SKIP]* [gap][digits]*`; a CONTROL event
has its code instead of head and size. The remaining digits of a number follow in groups of three. A group after which
the number may end is never 000; the last possible group is padded with zeros on the right. There are ranks only if the
vocabulary has them. Which events have one depends on the book: this automaton then allows a rank after any size.
"""

import enum
import functools
from collections.abc import Iterable

import numpy as np

from lob_jax.errors import InputError
from lob_jax.tokens import vocabulary as v


class Group(enum.IntEnum):
    """The condition on the next group of digits; a digit state is (field, remaining digits, Group)."""

    FIRST = 0  # it must be 100 or more
    MAY_END = 1  # the number may end before it
    MUST_GO_ON = 2  # the number may not end before it, because the previous group was 000


_NEXT = {v.FIELD_HEAD_DIGITS: "size", v.FIELD_SIZE_DIGITS: "time", v.FIELD_GAP_DIGITS: "boundary"}
_RANK_FIELD = {"rank": v.FIELD_RANK, "rank digits": v.FIELD_RANK_DIGITS}
_PLAIN_FIELD = {
    "boundary": v.FIELD_HEAD,
    "size": v.FIELD_SIZE,
    "time": v.FIELD_GAP,
    "back": v.FIELD_GAP,
    "skip": v.FIELD_GAP,
    "end": v.FIELD_SPECIAL,
}


class Automaton:
    """An automaton that accepts valid token streams.

    Attributes:
      transition: int16 [S, V], the next state, -1 where the token is forbidden.
      allowed: bool [S, V], `transition >= 0`.
      start: the state between events.
      state_field: int8 [S], the field (`FIELD_*`) of the next token; that of the digits inside a number that may end.
      at_boundary: bool [S], whether all events so far are complete and the stream may end.
    """

    def __init__(self, transition: np.ndarray, *, start: int, state_field: np.ndarray, at_boundary: np.ndarray):
        self.transition, self.start, self.state_field, self.at_boundary = transition, start, state_field, at_boundary
        self.allowed = transition >= 0
        for array in (self.transition, self.allowed, self.state_field, self.at_boundary):
            array.setflags(write=False)

    def walk(self, tokens: Iterable[int], *, state: int | None = None) -> int:
        """Return the state after tokens, from a state (by default `start`); -1 if a token is forbidden."""
        state = self.start if state is None else state
        for token in tokens:
            if not 0 <= token < v.VOCAB_SIZE:
                return -1
            state = int(self.transition[state, token])
            if state < 0:
                return -1
        return state

    def check(self, tokens: np.ndarray) -> None:
        """Check that a stream is valid and ends after an event; leading BOS, trailing EOS and PAD are optional.

        Raises:
          InputError: it does not; names the position, the tokens expected there, and the one found.
        """
        tokens = np.asarray(tokens).tolist()
        state = self.start
        for position, token in enumerate(tokens):
            if position == 0 and token == v.BOS:
                continue
            after = int(self.transition[state, token]) if 0 <= token < v.VOCAB_SIZE else -1
            if after < 0:
                raise self.refusal(position, state, token)
            state = after
        if not self.at_boundary[state]:
            raise self.refusal(len(tokens), state, None)

    def refusal(self, position: int, state: int, token: int | None) -> InputError:
        """Return the error for a token that its state forbids; None stands for the end of the stream."""
        if token is None:
            was = "the end of the stream"
        else:
            was = f"{token} ({v.describe(token)})" if 0 <= token < v.VOCAB_SIZE else f"{token}, which is not a token"
        return InputError(
            "the tokens end inside an event" if token is None else "the token is not allowed here",
            where=f"token {position}",
            expected=self.expected(state),
            was=was,
            remedy="decode only tokens of the same tokenizer, from the start of an event",
        )

    def expected(self, state: int) -> str:
        """Describe in words the tokens that a state allows."""
        allowed_V = self.allowed[state]
        choices = [v.SPECIALS[token] for token in range(len(v.SPECIALS)) if allowed_V[token]]
        if allowed_V[v.FIRST_CONTROL]:
            choices.append("a CONTROL code")
        if allowed_V[v.CLASS_SIZE]:
            choices.append("the head of an event")
        digits = np.flatnonzero(allowed_V[v.CONTINUATION : v.SIZE])
        if digits.size:
            step = digits[1] - digits[0]
            choices.append(f"digits {digits[0]:03d}..{digits[-1]:03d}" + (f" in steps of {step}" if step > 1 else ""))
        if allowed_V[v.SIZE]:
            choices.append("a size")
        if allowed_V[v.RANK_BASE]:
            choices.append("a rank")
        if allowed_V[v.TIME + 1]:
            choices.append("a gap" if allowed_V[v.TIME] else "a gap above 0")
        return " or ".join(choices)


class Grammar(Automaton):
    """The automaton of exact tokens for one value of `time_digits`, with or without ranks.

    Attributes:
      time_digits: significant digits of a gap, or None.
      references: one of `vocabulary.REFERENCES`.
    """

    def __init__(self, time_digits: int | None = None, references: str = v.REFERENCES[0]):
        v.check_time_digits(time_digits)
        v.check_references(references)
        self.time_digits, self.references = time_digits, references
        ranks = _RANK_FIELD if references == "rank" else {}
        self._next = _NEXT | ({v.FIELD_SIZE_DIGITS: "rank"} if ranks else {})
        self._gap_digits = v.MAX_NUMBER_DIGITS if time_digits is None else time_digits
        digits = _digit_states(self._gap_digits)
        names = [*_PLAIN_FIELD, *digits, *ranks]
        self._number = {name: state for state, name in enumerate(names)}
        self.transition = np.full((len(names), v.VOCAB_SIZE), -1, np.int16)
        self._fill_plain()
        if ranks:
            self._fill_ranks()
        for name in digits:
            self._fill_digits(*name)
        plain = _PLAIN_FIELD | ranks
        fields = np.array([plain[name] if isinstance(name, str) else name[0] for name in names], np.int8)
        at_boundary = self.transition[:, v.EOS] >= 0
        at_boundary[self._number["end"]] = True
        super().__init__(self.transition, start=self._number["boundary"], state_field=fields, at_boundary=at_boundary)

    def _fill_plain(self) -> None:
        row = {name: self.transition[state] for name, state in self._number.items()}
        number = self._number
        for control in range(v.FIRST_CONTROL, v.LAST_CONTROL + 1):
            row["boundary"][control] = number["time"]
        for head in range(v.CLASS_SIZE, v.CONTINUATION, v.ASK_OFFSET):
            row["boundary"][head : head + v.PRICE_CODES] = self._after_price_codes()
        row["boundary"][v.EOS] = row["end"][v.PAD] = number["end"]
        row["size"][v.SIZE : v.TIME] = self._after_codes(v.FIELD_SIZE_DIGITS, v.MAX_NUMBER_DIGITS)
        for name in ("time", "back", "skip"):
            row[name][v.TIME_SKIP] = number["skip"]
            row[name][v.TIME :] = self._after_codes(v.FIELD_GAP_DIGITS, self._gap_digits)
        row["time"][v.TIME_BACK] = number["back"]
        row["back"][v.TIME] = -1  # 0 has no direction

    def _fill_ranks(self) -> None:
        number, row = self._number, self.transition[self._number["rank"]]
        row[:] = self.transition[number["time"]]
        row[v.RANK_BASE : v.RANK_ESCAPE] = number["time"]
        row[v.RANK_ESCAPE : v.RANK_END] = number["rank digits"]
        self.transition[number["rank digits"], v.CONTINUATION : v.SIZE] = number["time"]

    def _after_codes(self, field: int, kept_digits: int) -> list[int]:
        """Return the state after each number code 0..999."""
        more = [min(v.split_number_code(code)[1], kept_digits - 2) for code in range(v.CLASS_SIZE)]
        return [self._number[(field, r, Group.MAY_END) if r else self._next[field]] for r in more]

    def _after_price_codes(self) -> list[int]:
        codes = self._after_codes(v.FIELD_HEAD_DIGITS, 4)
        better = v.DEEPER_ESCAPE - v.BETTER_CODE
        escapes = [
            self._number[v.FIELD_HEAD_DIGITS, digits, Group.FIRST]
            for fewest in (v.DEEPER_ESCAPE_DIGITS, v.BETTER_ESCAPE_DIGITS)
            for digits in range(fewest, v.MAX_PRICE_DIGITS + 1)
        ]
        return [*codes[: v.BETTER_CODE], *codes[1 : 1 + better], *escapes]

    def _fill_digits(self, field: int, digits: int, condition: int) -> None:
        row = self.transition[self._number[field, digits, condition]]
        if condition == Group.MAY_END:
            row[:] = self.transition[self._number[self._next[field]]]
        group = row[v.CONTINUATION : v.SIZE]
        if digits <= 3:
            step = 10 ** (3 - digits)
            group[step::step] = self._number[self._next[field]]
            return
        group[:] = self._number[field, digits - 3, Group.MAY_END]
        if condition == Group.FIRST:
            group[:100] = -1
        else:
            group[0] = self._number[field, digits - 3, Group.MUST_GO_ON]


def _digit_states(gap_digits: int) -> list[tuple[int, int, int]]:
    """Return all digit states: (field, remaining digits, condition)."""
    head = [(v.FIELD_HEAD_DIGITS, r, Group.FIRST) for r in range(v.BETTER_ESCAPE_DIGITS, v.MAX_PRICE_DIGITS + 1)]
    most = (
        (v.FIELD_HEAD_DIGITS, v.MAX_PRICE_DIGITS - 3),
        (v.FIELD_SIZE_DIGITS, v.MAX_NUMBER_DIGITS - 2),
        (v.FIELD_GAP_DIGITS, gap_digits - 2),
    )
    return head + [
        (field, r, condition)
        for field, digits in most
        for r in range(1, digits + 1)
        for condition in (Group.MAY_END, Group.MUST_GO_ON)
    ]


@functools.lru_cache
def grammar_for(time_digits: int | None, references: str = v.REFERENCES[0]) -> Grammar:
    """Return the grammar for values of `time_digits` and `references`; it is built only once."""
    return Grammar(time_digits, references)
