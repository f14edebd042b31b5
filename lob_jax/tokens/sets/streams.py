"""The sets of the tokens of a stream, of either tokenizer."""

from collections.abc import Callable

import numpy as np

from lob_jax.book.anchors import ANCHORS, NO_PRICE, REMEMBERED
from lob_jax.book.day import MarketDay
from lob_jax.book.kernel import load
from lob_jax.book.loops import as_column, correction_columns, event_columns, most_added
from lob_jax.book.price_memory import PRICE_MEMORIES, no_past
from lob_jax.book.queue import QUEUE_NUMBERS, RECENT_SIZES
from lob_jax.errors import InputError
from lob_jax.events.halts import OPEN
from lob_jax.events.schema import Events, Kind
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.bins import MOST_DISTANCE, MOST_LOTS, CompactBins
from lob_jax.tokens.compiled import MOST
from lob_jax.tokens.sets import compact_walk, walk
from lob_jax.tokens.sets.bins import bins_of
from lob_jax.tokens.sets.limits import Rules
from lob_jax.tokens.sets.price_memory import follow_price_memory
from lob_jax.tokens.sets.ranges import ROW_ROOM, Ranges, Stop, grown, new_ranges
from lob_jax.tokens.sets.token_sets import TokenSets

_RANGES_A_TOKEN = 40  # to begin with; memory that is not written to costs nothing
_HEADS = np.r_[v.FIRST_CONTROL : v.LAST_CONTROL + 1, v.CLASS_SIZE : v.CONTINUATION]  # of exact events


def rules_of(day: MarketDay, *, gap_digits: int, ranks: bool = False) -> Rules:
    """Return the rules of a day whose gaps have so many significant digits, with or without ranks."""
    units = (int(day.instrument.tick), int(day.instrument.signed))
    return Rules(*units, MOST_DISTANCE, MOST_LOTS, gap_digits, int(ranks), largest=np.full(len(Kind) + 1, MOST_LOTS))


def exact_sets(
    tokens: np.ndarray, day: MarketDay, rules: Rules, *, closed: int, rows: tuple[int, int] | None = None
) -> TokenSets:
    """Return the sets in the places of exact tokens, on the decoder's book.

    Args:
      tokens: int64 [T], which the grammar accepts; BOS in front, and EOS and PAD behind are optional, and the last
        event may be incomplete.
      day: its starting book and corrections; its events are not read.
      rules: see `rules_of`.
      closed: what halts before the first event have closed, see `lob_jax.events.halts`.
      rows: the first of the wanted tokens and the one behind the last; None for all.

    Raises:
      InputError: a price is out of range, or a correction follows an event that is not there.
    """
    state, (first, stop) = _exact_walk(tokens, day, rules, closed=closed), rows or (0, len(tokens))
    bos = int(len(tokens) > 0 and tokens[0] == v.BOS)
    begin = first  # of the event that the first wanted token belongs to: what it allows depends on those before it
    while begin > bos and not v.IS_HEAD_V[tokens[min(begin, len(tokens) - 1)]]:
        begin -= 1
    passed = walk.pass_over(state, np.ascontiguousarray(tokens[bos:begin], np.int64))
    if bos + passed < begin:
        raise _out_of_range(bos + passed)
    sets = _walked(lambda *where: walk.advance(state, *where), tokens[begin:stop], before=begin)
    return sets.between(first - begin, stop - begin)


def exact_queues(tokens: np.ndarray, day: MarketDay, rules: Rules) -> np.ndarray:
    """Return the queue at the price that is spelled after each of T exact tokens, int16 [T, QUEUE_NUMBERS].

    Arguments and errors are those of `exact_sets`; see `walk.follow_queues`.
    """
    bos = int(len(tokens) > 0 and tokens[0] == v.BOS)
    codes_TQ = np.zeros((len(tokens), QUEUE_NUMBERS), np.int16)
    state = _exact_walk(tokens, day, rules, closed=OPEN)
    recent = np.zeros((2, RECENT_SIZES), np.int64)
    done = walk.follow_queues(state, np.ascontiguousarray(tokens[bos:], np.int64), recent, codes_TQ[bos:])
    if bos + done < len(tokens):
        raise _out_of_range(bos + done)
    return codes_TQ


def exact_anchors(tokens: np.ndarray, day: MarketDay, rules: Rules) -> np.ndarray:
    """Return the anchors before each of E complete events and after the last, int16 [E + 1, ANCHORS].

    Arguments and errors are those of `exact_sets`; see `walk.follow_anchors`.
    """
    bos = int(len(tokens) > 0 and tokens[0] == v.BOS)
    codes_EA = np.zeros((1 + int((v.field_of(tokens) == v.FIELD_HEAD).sum()), ANCHORS), np.int16)
    state = _exact_walk(tokens, day, rules, closed=OPEN)
    remembered = np.full((2, REMEMBERED), NO_PRICE)
    done = walk.follow_anchors(state, np.ascontiguousarray(tokens[bos:], np.int64), remembered, codes_EA)
    if bos + done < len(tokens):
        raise _out_of_range(bos + done)
    return codes_EA


def exact_price_memory(tokens: np.ndarray, day: MarketDay, rules: Rules) -> np.ndarray:
    """Return what last happened at the price that is spelled after each of T exact tokens, int16 [T, PRICE_MEMORIES].

    Arguments and errors are those of `exact_sets`; see `follow_price_memory`.
    """
    bos = int(len(tokens) > 0 and tokens[0] == v.BOS)
    codes_TN = np.zeros((len(tokens), PRICE_MEMORIES), np.int16)
    state = _exact_walk(tokens, day, rules, closed=OPEN)
    done = follow_price_memory(state, np.ascontiguousarray(tokens[bos:], np.int64), no_past(), codes_TN[bos:])
    if bos + done < len(tokens):
        raise _out_of_range(bos + done)
    return codes_TN


def _exact_walk(tokens: np.ndarray, day: MarketDay, rules: Rules, *, closed: int) -> walk.Walk:
    begins = np.bincount(tokens, minlength=v.VOCAB_SIZE)
    corrections = correction_columns(day.corrections, int(begins[_HEADS].sum()))
    start = day.start.identified() if rules.ranks else day.start
    book = load(start, int(begins[v.CLASS_SIZE : 2 * v.CLASS_SIZE].sum()) + len(day.corrections))
    return walk.new_walk(book, corrections, rules, closed=closed)


def compact_sets(tokens: np.ndarray, day: MarketDay, bins: CompactBins, rules: Rules, *, closed: int) -> TokenSets:
    """Return the sets in the places of compact tokens, on the true book before each of the day's events.

    Args:
      tokens: int64 [T], those of the day's first events; BOS in front, and EOS and PAD behind are optional.
      day: its starting book, events and corrections.
      bins: those of the tokenizer.
      rules: see `rules_of`.
      closed: what halts before the first event have closed, see `lob_jax.events.halts`.

    Raises:
      InputError: there are more tokens than events, or a correction follows an event that is not there.
    """
    count = int(np.count_nonzero(~np.isin(tokens, (v.BOS, v.EOS, v.PAD))))
    _check_events(count, day.events)
    events, corrections = event_columns(day.events), correction_columns(day.corrections, len(day.events))
    events = events._replace(**{name: as_column(getattr(events, name), np.int64) for name in ("kind", "code", "side")})
    book = load(day.start, most_added(events, corrections))
    state = compact_walk.new_compact_walk(book, events, corrections, rules, bins_of(bins), closed=closed)
    return _walked(lambda *where: compact_walk.advance(state, *where), tokens)


def _walked(advance: Callable[..., tuple[int, int]], tokens: np.ndarray, *, before: int = 0) -> TokenSets:
    """Return the sets that a walk finds, in larger and larger memory; those in the place of BOS contain BOS alone.

    Errors name the position among all tokens, `before` of which are in front of these.
    """
    bos = int(len(tokens) > 0 and tokens[0] == v.BOS)
    tokens = np.ascontiguousarray(tokens[bos:], np.int64)
    ranges = new_ranges(_RANGES_A_TOKEN * len(tokens) + 2 * ROW_ROOM)
    offset, outside = np.zeros(len(tokens) + 1, np.int64), np.zeros(len(tokens), np.uint8)
    at, stop = 0, Stop.FULL
    while stop == Stop.FULL:
        at, stop = advance(ranges, tokens, at, offset, outside)
        if stop == Stop.FULL:
            ranges = grown(ranges, 2 * len(ranges.first))
    if stop == Stop.OUT_OF_RANGE:
        raise _out_of_range(before + bos + at)
    sets = TokenSets(offset, *_used(ranges, int(offset[-1])), outside)
    return _behind_bos(sets) if bos else sets


def _used(ranges: Ranges, count: int) -> tuple[np.ndarray, np.ndarray]:
    return ranges.first[:count].copy(), ranges.last[:count].copy()


def _behind_bos(sets: TokenSets) -> TokenSets:
    bos = np.array([v.BOS], np.uint16)
    return TokenSets(
        offset=np.concatenate([[0], sets.offset + 1]),
        first=np.concatenate([bos, sets.first]),
        last=np.concatenate([bos, sets.last]),
        outside=np.concatenate([np.zeros(1, np.uint8), sets.outside]),
    )


def _out_of_range(position: int) -> InputError:
    return InputError(
        "a decoded price is out of range",
        where=f"token {position}",
        expected=f"prices within ±{MOST}",
        was="a distance that leads beyond them",
        remedy="pass the starting book that the tokens were encoded with",
    )


def _check_events(count: int, events: Events) -> None:
    if count > len(events):
        raise InputError(
            "there are more compact tokens than events",
            where="sets",
            expected=f"at most {len(events)}",
            was=count,
            remedy="pass the day that the tokens were encoded from: its events determine the book before each",
        )
