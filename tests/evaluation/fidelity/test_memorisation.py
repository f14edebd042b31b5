"""Runs found in training data: against a plain search, and a copied window."""

import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.memorisation import (
    Runs,
    longest_runs,
    measure_memorisation,
    memorisation_table,
    messages_of,
)
from lob_jax.statistics.flow import joined
from tests.made_flow import made_flow, random_flow


def runs(*sequences):
    return Runs(
        np.array([[symbol] for sequence in sequences for symbol in sequence], np.int64).reshape(-1, 1),
        np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])]).astype(np.int64),
        np.arange(sum(len(sequence) for sequence in sequences)),
    )


def test_runs_by_hand():
    length, place = longest_runs(runs([2, 3, 4, 9], [4, 1]), runs([1, 2, 3, 4], [4, 4, 1]))
    assert length.tolist() == [3, 2, 1, 0, 2, 1]
    assert place[:2].tolist() == [1, 2] and place[2] in (3, 4, 5) and place[4] == 5


def test_runs_do_not_cross_the_ends_of_sequences():
    assert longest_runs(runs([1, 2], [3]), runs([1, 2, 3]))[0].tolist() == [2, 1, 1]
    assert longest_runs(runs([1, 2, 3]), runs([1], [2, 3]))[0].tolist() == [1, 2, 1]


@pytest.mark.parametrize("seed", range(6))
def test_against_a_plain_search(seed):
    rng = np.random.default_rng(seed)
    parts = [[rng.integers(0, 3, rng.integers(0, 40)).tolist() for _ in range(4)] for _ in range(2)]
    length, place = longest_runs(*(runs(*part) for part in parts))
    texts = ["".join(map(str, sequence)) for sequence in parts[1]]
    flat = "|".join(texts)
    starts = np.cumsum([0, *map(len, texts)])
    at = 0
    for sequence in parts[0]:
        text = "".join(map(str, sequence))
        for first in range(len(text)):
            longest = max(size for size in range(len(text) - first + 1) if text[first : first + size] in flat)
            assert length[at] == longest
            if longest:
                inside = int(np.searchsorted(starts, place[at], side="right")) - 1
                assert texts[inside][place[at] - starts[inside] :].startswith(text[first : first + longest])
            at += 1


@pytest.fixture(scope="module")
def training():
    return random_flow(0, sequences=3, length=400)


@pytest.mark.parametrize("gaps", [False, True])
def test_a_copied_window_is_maximal(training, gaps):
    start = training.edges[1] + 50
    columns = {
        name: getattr(training, name)[start : start + 100] for name in ("kind", "side", "price", "size", "time_ns")
    }
    books = {name: getattr(training, name)[start : start + 100] for name in ("book_price", "book_size")}
    ids = np.zeros(100, np.uint64)
    copied = dataclasses.replace(training, edges=np.array([0, 100]), order_id=ids, **columns, **books)
    shifted = dataclasses.replace(copied, price=copied.price + 70, book_price=copied.book_price + 70)
    real = random_flow(1, sequences=8)
    result = measure_memorisation(training, real, {"copy": joined([real.select([0, 1]), shifted])}, gaps=gaps)
    found, held_out = result["flows"]["copy"], result["flows"]["real"]
    assert found["longest"] == 100 - gaps and found["longest_of"] == 2
    assert found["longest_at"] == start + gaps
    assert held_out["longest"] < 10 and found["beyond"] >= 1 / 3


def test_held_out_flow_of_the_same_distribution_is_not_beyond(training):
    result = measure_memorisation(training, random_flow(2, sequences=30), {"g": random_flow(3, sequences=30)})
    assert result["flows"]["g"]["p"] > 0.01 and result["flows"]["g"]["beyond"] < 0.5


def test_copies_have_a_small_p(training):
    result = measure_memorisation(training, random_flow(2, sequences=9), {"g": training})
    assert result["flows"]["g"]["share"] == 1.0 and result["flows"]["g"]["p"] < 0.05


def test_messages_have_no_absolute_price():
    books = [([(99, 10)], [(101, 10)]), ([(199, 10)], [(201, 10)])]
    flow = made_flow([(0, 1, 1, 98, 5, 1), (9, 1, 1, 198, 5, 2)], books=books)
    symbol = messages_of(flow).symbol
    assert symbol[0].tolist() == symbol[1].tolist() == [1, 1, -1, 5]
    assert messages_of(flow, gaps=True).symbol.tolist() == [[1, 1, -1, 5, 4]]  # 9 ns: from 8 to 15


FLOWS = {"no sequence": made_flow(), "no messages": made_flow([]), "one message": made_flow([(0, 1, 1, 99, 5, 1)])}


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_has_a_length_or_none(name, gaps, training):
    for real, other in ((random_flow(4), FLOWS[name]), (FLOWS[name], random_flow(4))):
        result = measure_memorisation(training, real, {"g": other}, gaps=gaps)
        json.dumps(result, allow_nan=False)
        console = Console(width=100, record=True, file=io.StringIO())
        console.print(memorisation_table(result))
        assert "real" in console.export_text()


def without_messages(flow):
    return dataclasses.replace(flow, **{name: 0 * getattr(flow, name) for name in ("kind", "side", "price", "size")})


def test_books_without_messages_are_no_runs(training):
    result = measure_memorisation(training, training, {"g": without_messages(training)})
    assert result["flows"]["g"]["longest"] is None and result["flows"]["g"]["p"] is None


@pytest.mark.parametrize("searched", [made_flow([]), without_messages(random_flow(0))], ids=["empty", "book only"])
def test_nothing_to_search_is_an_error(searched):
    with pytest.raises(InputError, match="no training data"):
        measure_memorisation(searched, random_flow(0), {})
