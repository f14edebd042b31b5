"""`import lob_jax` costs nothing and gives what a notebook needs, the outline's names among it."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import lob_jax
from lob_jax.book.replay import find_corrections

OUTLINE = (
    "LOBTransformer LOBEmbeddings TransformerBlock PredictionHead ConditionalLOBTransformer LOBTokenizer LOBMetrics "
    "TokenBookDataset load_incremental_data reconstruct_book_states train generate visualize_attention"
).split()


def test_importing_it_imports_nothing_else():
    program = "import sys; before = {*sys.modules}; import lob_jax; print(*({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names} == {
        "lob_jax"
    }


def test_a_day_its_book_and_its_tokens_need_no_jax():
    program = (
        "import sys, lob_jax; day = lob_jax.load_incremental_data(events=50, seed=0);"
        "lob_jax.reconstruct_book_states(day, 2); lob_jax.LOBTokenizer().encode(day); print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", lob_jax.__all__)
def test_a_name_is_there_says_what_it_is_and_is_listed(name):
    found = getattr(lob_jax, name)
    assert found is getattr(lob_jax, name) and name in dir(lob_jax)
    assert callable(found) and len(found.__doc__) > 20


def test_the_names_of_the_outline_are_found():
    assert set(OUTLINE) <= set(lob_jax.__all__)
    assert lob_jax.ConditionalLOBTransformer is lob_jax.LOBTransformer


@pytest.mark.parametrize("name", ["visualise_attention", "predict_next_events", "load_rum"])
def test_a_name_that_is_none_is_an_attribute_error(name):
    assert not hasattr(lob_jax, name) and name not in dir(lob_jax)


def test_a_windowed_day_has_the_books_of_its_feed_and_its_events_alone_cannot_be_replayed():
    """Of a feed that shows three levels, the events alone give other best quotes in more than a quarter of the rows."""
    day = lob_jax.load_incremental_data(events=3_000, seed=2)
    shown = lob_jax.reconstruct_book_states(day, 3)
    window = dataclasses.replace(day.start, window=3)
    corrections = find_corrections(day.events, start=window, price=shown.price[1:], size=shown.size[1:])
    windowed = dataclasses.replace(day, start=window, corrections=corrections)
    states = lob_jax.reconstruct_book_states(windowed, 3)
    np.testing.assert_array_equal(states.price[1:], shown.price[1:])
    np.testing.assert_array_equal(states.size[1:], shown.size[1:])
    opening = lob_jax.MarketDay.opening(day.instrument, window)
    without = lob_jax.reconstruct_book_states(opening.with_events(day.events), 3)
    assert (without.price[:, :, 0] != shown.price[:, :, 0]).any(axis=1).mean() > 0.25
    with pytest.raises(AttributeError):
        lob_jax.reconstruct_book_states(windowed.events, 3)
