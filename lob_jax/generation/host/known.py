"""The inputs of a model at the newest token of each path; their sources are declared in `lob_jax.models.inputs`."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from lob_jax.book.anchors import ANCHORS
from lob_jax.book.features import book_features
from lob_jax.book.flow import FLOW_FEATURES, flow_features
from lob_jax.book.flow_loop import write_numbers
from lob_jax.book.orders import END, FIRST, PRICE, SIZE, Book
from lob_jax.book.price_memory import PRICE_MEMORIES
from lob_jax.book.queue import QUEUE_NUMBERS
from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.generation.host.state import Known, Number, Paths, flow_of
from lob_jax.generation.prompt import Prompt
from lob_jax.jit import inner
from lob_jax.models.inputs import BY_NAME, Advance
from lob_jax.tokens.latest import FAMILIES, LATEST_TOKENS, OF_EACH

SECONDS_PER_DAY = 86_400
_FAMILIES = np.array(FAMILIES)


class Day(NamedTuple):
    """What inputs depend on besides the paths: midnight in UNIX ns, and time-of-day buckets per day."""

    midnight_ns: int
    time_buckets: int


def blank_known(prompt: Prompt, rows: int) -> Known:
    """Return memory for what the prompt's model reads at a token; none for the rest."""
    names = prompt.known_T
    sizes = {"queue": QUEUE_NUMBERS, "price_memory": PRICE_MEMORIES, "anchors": ANCHORS, "latest": LATEST_TOKENS}
    width = {name: size if name in names else 0 for name, size in {"flow": FLOW_FEATURES, **sizes}.items()}
    levels = names["book"].shape[-1] // 4
    codes = (np.zeros((rows, width[name]), np.int16) for name in sizes)
    of_book = (np.zeros((rows, 2, levels), np.int64) for _ in range(2))
    return Known(*of_book, np.zeros((rows, width["flow"]), np.float32), *codes)


def known_at(paths: Paths, constant: Mapping[str, np.ndarray], names: Mapping[str, np.dtype], day: Day) -> dict:
    """Return the named inputs at the newest token of each path, [B, 1, ...], with their dtypes; none is a view."""

    def value(name: str) -> np.ndarray:
        return constant[name] if name in constant else MAKERS[name](paths, day)

    return {name: value(name)[:, None].astype(dtype) for name, dtype in names.items()}


def constants(prompt: Prompt) -> dict[str, np.ndarray]:
    """Return the inputs that keep their values at the prompt's last token, by name."""
    return {name: leaf_T[-1] for name, leaf_T in prompt.known_T.items() if BY_NAME[name].advance is Advance.CONSTANT}


def check_flow(prompt: Prompt) -> None:
    """Check that the prompt says what the flow was, if the model reads it.

    Raises:
      InputError: it does not.
    """
    if "flow" in prompt.known_T and prompt.flow is None:
        raise InputError(
            "the model reads the flow, and the prompt does not say what it was",
            where="Prompt.flow",
            expected="the state of the flow after the last event of the prompt",
            was=None,
            remedy="make the prompt with make_prompt or prompt_from_day, and what the run's model reads",
        )


def _since_midnight(paths: Paths, day: Day) -> tuple[np.ndarray, np.ndarray]:
    return np.divmod(paths.number[:, Number.CLOCK] - day.midnight_ns, NS_PER_SECOND)


def _time_of_day(paths: Paths, day: Day) -> np.ndarray:
    seconds_B = np.clip(_since_midnight(paths, day)[0], 0, SECONDS_PER_DAY - 1)
    return seconds_B * day.time_buckets // SECONDS_PER_DAY


def _clock(paths: Paths, day: Day) -> np.ndarray:
    return np.stack(_since_midnight(paths, day), -1)


def _book(paths: Paths, _: Day) -> np.ndarray:
    return book_features(paths.known.price, paths.known.size, tick=1)


def _flow(paths: Paths, _: Day) -> np.ndarray:
    return flow_features(paths.known.flow)


def _event(paths: Paths, _: Day) -> np.ndarray:
    return paths.number[:, Number.BEHIND] - 1 + paths.number[:, Number.EVENTS]


MAKERS: dict[str, Callable[[Paths, Day], np.ndarray]] = {
    "time_of_day": _time_of_day,
    "clock": _clock,
    "book": _book,
    "flow": _flow,
    "queue": lambda paths, _: paths.known.queue,
    "price_memory": lambda paths, _: paths.known.price_memory,
    "anchors": lambda paths, _: paths.known.anchors,
    "latest": lambda paths, _: paths.known.latest,
    "event": _event,
}


@inner
def note_levels(book: Book, tick: int, price: np.ndarray, size: np.ndarray) -> None:
    """Write the best levels of a book, prices in ticks."""
    for s in range(2):
        end, levels = book.side[s, END], book.side[s, END] - book.side[s, FIRST]
        for k in range(price.shape[1]):
            price[s, k] = book.levels[s, end - 1 - k, PRICE] // tick if k < levels else 0
            size[s, k] = book.levels[s, end - 1 - k, SIZE] if k < levels else 0


@inner
def note_flow(paths: Paths, path: int, clock: int) -> None:
    """Write the numbers of the flow at a time, if a model reads them."""
    if paths.known.flow.shape[1] > 0:
        write_numbers(flow_of(paths.flow, path), clock, paths.known.flow[path])


@inner
def note_token(latest: np.ndarray, token: int) -> None:
    """Put a token before the latest ones of its family, if a model reads them."""
    if len(latest) == 0:
        return
    for family in range(len(_FAMILIES)):
        if _FAMILIES[family, 0] <= token < _FAMILIES[family, 1]:
            first = family * OF_EACH
            for at in range(first + OF_EACH - 1, first, -1):
                latest[at] = latest[at - 1]
            latest[first] = token
