"""Sample the next token of a path from ranges of allowed tokens, see `lob_jax.generation.device.sampling`.

The sums of weights are accumulated in float64, and those of the device in float32: a sample differs where a random
number, a multiple of 2^-23, falls within this rounding of the border between two tokens.
"""

import math
from typing import NamedTuple

import numpy as np

from lob_jax.jit import in_place, inner
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.sets.ranges import ROW_ROOM

CLASSES = v.VOCAB_SIZE // v.CLASS_SIZE
_DIGITS = v.CONTINUATION // v.CLASS_SIZE
_LEAST = 1e-25  # a smaller sum of float32 weights may lack parts that were rounded to zero


class Sampler(NamedTuple):
    """The settings of the sampler, as compiled code reads them.

    Attributes:
      greedy: 1 to take the most likely token, else 0.
      kinds_first: 1 if the kind of an order event is sampled before the book mask applies, else 0.
      top_k: see `Truncation`, as are the next two.
      top_p: float.
      log_min_p: its logarithm; of float32, and minus infinity for 0.
    """

    greedy: int
    kinds_first: int
    top_k: int
    top_p: float
    log_min_p: np.float32


class Scratch(NamedTuple):
    """Memory for one sample.

    Attributes:
      spelt: float64 [CLASSES], weights of the tokens that the grammar allows.
      left: float64 [CLASSES], weights of those that the book allows as well.
      any_left: int64 [CLASSES], how many of them there are.
      class_weight: float64 [CLASSES].
      token: int64 [CLASS_SIZE], the tokens of the sampled class.
      logit: float32 [CLASS_SIZE], their logits.
      weight: float64 [CLASS_SIZE], their weights.
      sorted: float32 [CLASS_SIZE].
      first: int64 [ROW_ROOM], ranges of tokens that may be drawn.
      last: int64 [ROW_ROOM].
      mass: float64 [2], the probability that the grammar masks, and the share of the rest that the book masks.
    """

    spelt: np.ndarray
    left: np.ndarray
    any_left: np.ndarray
    class_weight: np.ndarray
    token: np.ndarray
    logit: np.ndarray
    weight: np.ndarray
    sorted: np.ndarray
    first: np.ndarray
    last: np.ndarray
    mass: np.ndarray


def new_scratch() -> Scratch:
    """Return memory for one sample."""
    return Scratch(
        spelt=np.zeros(CLASSES),
        left=np.zeros(CLASSES),
        any_left=np.zeros(CLASSES, np.int64),
        class_weight=np.zeros(CLASSES),
        token=np.zeros(v.CLASS_SIZE, np.int64),
        logit=np.zeros(v.CLASS_SIZE, np.float32),
        weight=np.zeros(v.CLASS_SIZE),
        sorted=np.zeros(v.CLASS_SIZE, np.float32),
        first=np.zeros(ROW_ROOM, np.int64),
        last=np.zeros(ROW_ROOM, np.int64),
        mass=np.zeros(2),
    )


class Masked(NamedTuple):
    """Ranges of tokens, of which those in begin..end-1 count.

    Attributes:
      first: the first token of each range, ascending.
      last: the last token of each.
      begin: the first range.
      end: the one after the last.
    """

    first: np.ndarray
    last: np.ndarray
    begin: int
    end: int


class Scores(NamedTuple):
    """What a network says of one path's next token, float32 [V] each.

    Attributes:
      logit: divided by the temperature.
      weight: exp(logit - the greatest), at the temperature.
      share: exp(logit - the greatest), at temperature 1.
    """

    logit: np.ndarray
    weight: np.ndarray
    share: np.ndarray


@inner
def class_sums(ranges: Masked, weight_V: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> float:
    """Write the weight and the number of the tokens in ranges, by class; return the whole weight."""
    sums[:], counts[:] = 0, 0
    for at in range(ranges.begin, ranges.end):
        token, end = np.int64(ranges.first[at]), np.int64(ranges.last[at]) + 1
        while token < end:
            of = token // v.CLASS_SIZE
            stop = min(end, (of + 1) * v.CLASS_SIZE)
            found = 0.0
            for one in range(token, stop):
                found += weight_V[one]
            sums[of] += found
            counts[of] += stop - token
            token = stop
    return sums.sum()


@inner
def most_likely(ranges: Masked, logit_V: np.ndarray) -> int:
    """Return the token with the greatest logit; of several, the first."""
    best = np.int64(ranges.first[ranges.begin])
    for at in range(ranges.begin, ranges.end):
        for token in range(np.int64(ranges.first[at]), np.int64(ranges.last[at]) + 1):
            if logit_V[token] > logit_V[best]:
                best = token
    return best


@in_place
def sample(
    scratch: Scratch, sampler: Sampler, scores: Scores, grammar: Masked, book: Masked, at_3: tuple[float, float, float]
) -> int:
    """Return a token of `book`, whose tokens are among those of `grammar`.

    Args:
      scratch: memory.
      sampler: the settings.
      scores: of the next token.
      grammar: the tokens that the grammar allows.
      book: those that the book allows as well, at least one.
      at_3: numbers in 0..1 that decide whether a number continues, the class, and the token within the class.
    """
    if sampler.greedy:
        return most_likely(book, scores.logit)
    class_weights(scratch, sampler, scores, grammar, book)
    chosen = _draw_class(scratch, at_3[0], at_3[1])
    count = inside(scratch, scores, book, chosen)
    _truncate(scratch, sampler, count)
    return scratch.token[_inverted(scratch.weight, count, at_3[2])]


@inner
def class_weights(scratch: Scratch, sampler: Sampler, scores: Scores, grammar: Masked, book: Masked) -> None:
    """Write the weights of the classes, by which one of them is sampled."""
    weight_C = scratch.class_weight
    class_sums(grammar, scores.weight, scratch.spelt, scratch.any_left)
    class_sums(book, scores.weight, scratch.left, scratch.any_left)
    for of in range(CLASSES):
        spelt = sampler.kinds_first == 1 and 0 < of < _DIGITS and scratch.any_left[of] > 0
        weight_C[of] = scratch.spelt[of] if spelt else scratch.left[of]
    if weight_C.sum() < _LEAST:
        _weigh_again(scratch, sampler, scores, grammar, book)


@inner
def _draw_class(scratch: Scratch, at0: float, at1: float) -> int:
    """Sample a class: first whether the current number continues, then which of the other classes follows."""
    weight_C = scratch.class_weight
    digits, total = weight_C[_DIGITS], weight_C.sum()
    weight_C[_DIGITS] = 0
    if at0 * total < digits or weight_C.sum() == 0:
        return _DIGITS
    return _inverted(weight_C, CLASSES, at1)


@inner
def _weigh_again(scratch: Scratch, sampler: Sampler, scores: Scores, grammar: Masked, book: Masked) -> None:
    """Write the weights of classes, relative to the most likely of the tokens that count."""
    greatest = -np.inf
    for second in range(2):
        scratch.class_weight[:] = 0
        for source in range(2):
            ranges = grammar if source else book
            for at in range(ranges.begin, ranges.end):
                for token in range(np.int64(ranges.first[at]), np.int64(ranges.last[at]) + 1):
                    of = token // v.CLASS_SIZE
                    spelt = sampler.kinds_first == 1 and 0 < of < _DIGITS and scratch.any_left[of] > 0
                    if spelt != (source == 1):
                        continue
                    if second:
                        scratch.class_weight[of] += math.exp(scores.logit[token] - greatest)
                    else:
                        greatest = max(greatest, scores.logit[token])


@inner
def inside(scratch: Scratch, scores: Scores, book: Masked, of: int) -> int:
    """Collect the allowed tokens of a class with their logits and weights; return their number."""
    count, total, greatest = 0, 0.0, np.float32(-np.inf)
    for at in range(book.begin, book.end):
        first, last = np.int64(book.first[at]), np.int64(book.last[at])
        for token in range(max(first, of * v.CLASS_SIZE), min(last + 1, (of + 1) * v.CLASS_SIZE)):
            scratch.token[count], scratch.logit[count] = token, scores.logit[token]
            scratch.weight[count] = scores.weight[token]
            greatest = max(greatest, scores.logit[token])
            total += scores.weight[token]
            count += 1
    if total < _LEAST:
        for k in range(count):
            scratch.weight[k] = math.exp(scratch.logit[k] - greatest)
    return count


@inner
def _truncate(scratch: Scratch, sampler: Sampler, count: int) -> None:
    """Set the weights of excluded tokens to 0; each rule applies to the tokens that the previous rules kept."""
    if 0 < sampler.top_k < count:
        _sort(scratch, count)
        _keep_from(scratch, count, scratch.sorted[sampler.top_k - 1])
    if sampler.top_p < 1:
        _sort(scratch, count)
        total, ahead, k = 0.0, 0.0, 0
        for at in range(count):
            total += math.exp(scratch.sorted[at] - scratch.sorted[0])
        while k + 1 < count:  # a token is needed if the more likely ones together do not reach top_p
            ahead += math.exp(scratch.sorted[k] - scratch.sorted[0])
            if ahead / total >= sampler.top_p:
                break
            k += 1
        _keep_from(scratch, count, scratch.sorted[k])
    if sampler.log_min_p > -np.inf:
        greatest = np.float32(-np.inf)
        for at in range(count):
            greatest = max(greatest, scratch.logit[at])
        _keep_from(scratch, count, np.float32(greatest + sampler.log_min_p))


@inner
def _keep_from(scratch: Scratch, count: int, least: float) -> None:
    """Exclude the tokens whose logits are below `least`."""
    for at in range(count):
        if scratch.logit[at] < least:
            scratch.logit[at], scratch.weight[at] = -np.inf, 0


@inner
def _sort(scratch: Scratch, count: int) -> None:
    """Sort the logits, the greatest first, by a heap in place."""
    heap = scratch.sorted
    for at in range(count):
        heap[at] = scratch.logit[at]
    for root in range(count // 2 - 1, -1, -1):
        _sift(heap, root, count)
    for end in range(count - 1, 0, -1):
        heap[0], heap[end] = heap[end], heap[0]
        _sift(heap, 0, end)


@inner
def _sift(heap: np.ndarray, root: int, count: int) -> None:
    """Move a number down to where no smaller one is below it."""
    while 2 * root + 1 < count:
        child = 2 * root + 1
        if child + 1 < count and heap[child + 1] < heap[child]:
            child += 1
        if heap[root] <= heap[child]:
            return
        heap[root], heap[child] = heap[child], heap[root]
        root = child


@inner
def _inverted(weight: np.ndarray, count: int, at: float) -> int:
    """Return the first index where the sum of weights exceeds `at` of the whole; its weight is above 0."""
    total, upto, last = 0.0, 0.0, 0
    for k in range(count):
        total += weight[k]
    for k in range(count):
        if weight[k] > 0:
            upto += weight[k]
            last = k
            if upto > at * total:
                return k
    return last
