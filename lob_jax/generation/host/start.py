"""The state of paths where they begin: at the end of their prompt, with its book and clock and a key of their own."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from lob_jax.book.flow import FlowState, blank_flow
from lob_jax.book.kernel import load
from lob_jax.book.orders import BEHIND, Book, enter_all
from lob_jax.book.snapshot import BookSnapshot
from lob_jax.book.view import MOST_REMEMBERED, OutOfView
from lob_jax.generation.host.known import blank_known
from lob_jax.generation.host.orders import MOST_TOKENS, Fate, Own
from lob_jax.generation.host.random import fold_in
from lob_jax.generation.host.state import Books, Newest, Number, Paths, Shown, Views, book_of
from lob_jax.generation.host.step import note_quotes
from lob_jax.generation.prompt import FIRST_NUMBER, Prompt
from lob_jax.generation.settings import SamplingConfig
from lob_jax.jit import in_place
from lob_jax.tokens.sets import spelling as sp
from lob_jax.tokens.sets.bins import new_scan
from lob_jax.tokens.sets.heads import new_level_codes
from lob_jax.tokens.sets.ranges import ROW_ROOM, new_ranges
from lob_jax.tokens.tokenizer import Tokenizer

FEWEST_FREE = 64  # orders that a book has room for, before it is enlarged


def start_paths(prompts: Sequence[Prompt], tokenizer: Tokenizer, sampling: SamplingConfig, *, levels: int) -> Paths:
    """Return the state of all paths at the end of their prompts, those of a prompt adjacent.

    Args:
      prompts: the prompts.
      tokenizer: the tokenizer.
      sampling: how many paths, and their random numbers.
      levels: room for levels of a side without a window.
    """
    count, rows = sampling.paths, sampling.paths * len(prompts)

    def repeated(each: Sequence[np.ndarray]) -> np.ndarray:
        return np.repeat(np.stack(each), count, 0)

    ranks = tokenizer.vocabulary.has_ranks
    reads_past = "price_memory" in prompts[0].known_T
    flows = [prompt.flow or blank_flow() for prompt in prompts]
    paths = Paths(
        books=_books(prompts, count, levels=levels, ranks=ranks),
        spelling=repeated([sp.new_spelling(prompt.closed, int(ranks)) for prompt in prompts]),
        ranges=_stacked(new_ranges(2 * ROW_ROOM), rows),
        codes=_stacked(new_level_codes(), rows),
        scan=_stacked(new_scan(), rows),
        heads=np.full((rows, 2), -1),
        number=np.zeros((rows, len(Number)), np.int64),
        behind=_views(prompts, count),
        recent=repeated([prompt.recent.astype(np.int64) for prompt in prompts]),
        remembered=repeated([prompt.remembered.astype(np.int64) for prompt in prompts]),
        past=repeated([prompt.past if reads_past else prompt.past[:, :0] for prompt in prompts]),
        flow=FlowState(*(repeated(column) for column in zip(*flows, strict=True))),
        known=blank_known(prompts[0], rows),
        mass=np.zeros((rows, 2)),
        shown=np.zeros((rows, len(Shown)), np.int64),
        event=np.zeros((rows, len(Newest)), np.int64),
        token=np.zeros(rows, np.int64),
        own=np.zeros((rows, len(Own)), np.int64),
        lots=np.zeros((rows, len(Fate), len(sampling.inject) + 1), np.int64),
        spelled=np.zeros((rows, MOST_TOKENS), np.int64),
    )
    if "latest" in prompts[0].known_T:
        paths.known.latest[:] = repeated([prompt.known_T["latest"][-1] for prompt in prompts])
    _fill_numbers(paths.number, prompts, tokenizer, sampling)
    _find_quotes(paths)
    return paths


def _stacked(each: Any, rows: int) -> Any:
    """Return a tuple whose arrays are those of `each` for every path, along a new first axis."""
    return type(each)(*(np.repeat(leaf[None], rows, 0) for leaf in each))


def _books(prompts: Sequence[Prompt], count: int, *, levels: int, ranks: bool) -> Books:
    """Return the books of all paths, with room for as many orders as the largest needs; without ranks, without ids."""
    starts = [prompt.book.identified() if ranks else _nameless(prompt.book) for prompt in prompts]
    slots = max(len(start) for start in starts) + FEWEST_FREE
    each = [load(start, slots - len(start), levels=4 * start.window or levels) for start in starts]
    columns = [np.repeat(np.stack(leaves), count, 0) for leaves in zip(*(book[:-2] for book in each), strict=True)]
    return Books(*columns, np.repeat(np.array([book[-2:] for book in each], np.int64), count, 0))


def _nameless(book: BookSnapshot) -> BookSnapshot:
    """Return the same book without ids."""
    return dataclasses.replace(book, order_id=np.zeros(len(book), np.uint64))


def _views(prompts: Sequence[Prompt], count: int) -> Views:
    """Return the best of the levels behind each view."""
    each = [_side_views(prompt.behind, prompt.book.window) for prompt in prompts]
    return Views(*(np.repeat(np.stack(leaves), count, 0) for leaves in zip(*each, strict=True)))


def _side_views(behind: OutOfView, window: int) -> tuple[np.ndarray, np.ndarray]:
    price, lots = np.zeros((2, 2, MOST_REMEMBERED if window else 1), np.int64)
    for s, side in enumerate((1, -1)):
        rows = np.flatnonzero(behind.side == side)[: price.shape[1]]
        price[s, : len(rows)], lots[s, : len(rows)] = behind.price[rows], behind.size[rows]
    return price, lots


def _fill_numbers(
    number: np.ndarray, prompts: Sequence[Prompt], tokenizer: Tokenizer, sampling: SamplingConfig
) -> None:
    """Fill the columns that are not 0 at the start, see `Number`."""
    for n, prompt in enumerate(prompts):
        rows = number[n * sampling.paths : (n + 1) * sampling.paths]
        rows[:, Number.CLOCK], rows[:, Number.BEHIND] = prompt.clock_ns, prompt.known_T["event"][-1] + 1
        root = _folded(0, sampling.seed, int(FIRST_NUMBER) + prompt.number) if prompt.number else (0, sampling.seed)
        for path, row in enumerate(rows):
            row[[Number.KEY_0, Number.KEY_1]] = _folded(*root, path)
    number[:, Number.GRAMMAR], number[:, Number.LAST] = tokenizer.grammar.start, sampling.events
    number[:, Number.FLIP] = sampling.antithetic


@in_place
def _folded(key0: int, key1: int, number: int) -> tuple[int, int]:
    return fold_in(np.int64(key0), np.int64(key1), np.int64(number))


@in_place
def _find_quotes(paths: Paths) -> None:
    """Write what the flow compares the book after its next event with."""
    for path in range(len(paths.token)):
        note_quotes(paths.number[path], book_of(paths.books, path))


def with_room(paths: Paths) -> Paths:
    """Return paths whose books have room for more orders: the given ones, or copies with twice the room."""
    books = paths.books
    if int(books.free[:, 1].min()) > 1:
        return paths
    rows, slots, width = books.orders.shape
    more = np.zeros((rows, slots, width), np.int64)
    more[:, :, BEHIND] = np.arange(slots + 1, 2 * slots + 1)
    more[:, -1, BEHIND] = books.free[:, 0]
    free = np.stack([np.full(rows, slots), books.free[:, 1] + slots], 1)
    names = np.zeros((rows, 2 * books.names.shape[1], 2), np.int64)
    larger = books._replace(orders=np.concatenate([books.orders, more], 1), names=names, free=free)
    for path in range(rows):
        enter_all(Book(*(leaf[path] for leaf in larger[:-1]), *larger.settings[path].tolist()), books.names[path])
    return paths._replace(books=larger)
