"""Walk over the tokens of events with the device's masks, on random books; shared by the tests of the masks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lob_jax.book.oracle import OracleBook
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.events.instrument import Instrument
from lob_jax.events.schema import Kind
from lob_jax.generation.device import assembler, live_book
from lob_jax.generation.device.book_mask import book_mask
from lob_jax.generation.prompt import ANY_SIZES
from lob_jax.tokens import vocabulary as v
from lob_jax.tokens.exact import ExactTokenizer

TICK = 100
INSTRUMENT = Instrument("SYN", "SIM", "2024-01-02", "America/New_York", tick=TICK)
NOW = INSTRUMENT.midnight_ns()
TOKENIZER, RANKED = ExactTokenizer(2), ExactTokenizer(2, "rank")
GRAMMAR = TOKENIZER.grammar
TRANSITIONS = [jnp.asarray(tokenizer.grammar.transition) for tokenizer in (TOKENIZER, RANKED)]
FIELDS = [jnp.asarray(tokenizer.grammar.state_field, jnp.int32) for tokenizer in (TOKENIZER, RANKED)]
FIELD = FIELDS[0]
DRAWABLE = np.ones(v.VOCAB_SIZE, bool)
DRAWABLE[[v.PAD, v.EOS, v.TIME_BACK, v.TIME_SKIP]] = False


@functools.partial(jax.jit, static_argnames=("tick", "ranks"))
def allowed(book, spelling, state, *, tick=TICK, largest_K=ANY_SIZES, ranks=False):
    rules = {"tick": tick, "largest_K": jnp.asarray(largest_K), "ranks": ranks}
    mask_V = book_mask(book, spelling, FIELDS[ranks][state], **rules)
    return (TRANSITIONS[ranks][state] >= 0) & mask_V


@functools.partial(jax.jit, static_argnames="ranks")
def take(book, spelling, state, token, *, ranks=False):
    spelling, complete = assembler.read(spelling, token)
    event = {name: getattr(spelling, name) for name in ("kind", "code", "side", "size")}
    event |= {"rank": spelling.rank} if ranks else {}
    taken = live_book.apply(book, deeper=spelling.price, **event)
    book = jax.tree.map(functools.partial(jnp.where, complete), taken, book)
    return book, spelling, TRANSITIONS[ranks][state, token].astype(jnp.int32)


def snapshot(oracle):
    queues = [(side, price, oracle.sides[side][price]) for side in (1, -1) for price, _ in oracle.levels(side)]
    rows = [(side, price, order.size, order.anonymous, order.own) for side, price, queue in queues for order in queue]
    side, price, size, anonymous, own = (np.array(x) for x in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 5
    return BookSnapshot(
        time_ns=NOW,
        side=side.astype(np.int8),
        price=price.astype(np.int64),
        size=size.astype(np.int64),
        order_id=np.zeros(len(rows), np.uint64),
        anonymous=anonymous.astype(bool),
        last_best=np.array([oracle.last_best[side] or 0 for side in (1, -1)], np.int64),
        seen=np.array([oracle.last_best[side] is not None for side in (1, -1)]),
        pooled=oracle.pooled,
        window=oracle.window,
        own=np.flatnonzero(own),
    )


def drawn_book(random, *, orders=4, pooled=False, sides=(True, True), signed=False, own=False):
    """Return a plain book with a few levels and queues, with sizes from 1 to millions.

    Some orders are anonymous, and with `own` some are the user's.
    """
    oracle = OracleBook(BookSnapshot.empty(NOW, pooled=pooled, window=int(random.choice([0, 0, 3, 4]))))
    middle = int(random.choice([0, 3, -5_000] if signed else [40, 5_000, 123_456]))
    ladder = [1, 2, 3, 4, 7, 12, 38, max(middle - 1, 5)]
    for side, there in zip((1, -1), sides, strict=True):
        if there:
            away = np.unique(random.choice(ladder, random.integers(1, 6)))
            for ticks in away:
                for _ in range(1 if pooled and not own else random.integers(1, orders + 1)):
                    size = int(random.choice([1, 2, 9, 10, 57, 100, 105, 1_000, 1_005, 123_456, 2_000_000]))
                    price = (middle - side * int(ticks)) * TICK
                    if random.random() < 0.7:
                        oracle.apply(Kind.ADD, side, price, size, 0, own=own and random.random() < 0.5)
                    else:
                        oracle.correct(side, price, sum(oracle.sizes(side, price)) + size)
    return oracle


def choose(random, mask_V):
    """Sample an allowed token, its class first, so that rare classes occur."""
    ids = np.flatnonzero(mask_V & DRAWABLE)
    assert ids.size, "no token is allowed"
    return int(random.choice(ids[ids // 1000 == random.choice(np.unique(ids // 1000))]))
