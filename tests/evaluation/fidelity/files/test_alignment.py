"""Whether books belong to their messages."""

import dataclasses

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.files.alignment import check_aligned, explained
from lob_jax.events.schema import Kind
from lob_jax.feeds.load import load_incremental_data
from lob_jax.statistics.flow import disjoint_spans, flow_of_spans


@pytest.fixture(scope="module")
def flow():
    return flow_of_spans(load_incremental_data(events=600, seed=3), disjoint_spans(500, length=250), levels=3)


def test_a_simulated_day_explains_its_books(flow):
    count, seen = explained(flow)
    changes = np.isin(flow.kind, (Kind.ADD, Kind.CANCEL, Kind.DELETE, Kind.EXECUTE)).sum()
    assert count == seen and changes / 2 < seen <= changes - 2  # the first row of a sequence has no row before it
    assert check_aligned(flow, where="") == 1.0


@pytest.mark.parametrize(("shift", "told"), [(1, "one row late"), (-1, "one row early")])
def test_shifted_books_are_refused(flow, shift, told):
    shifted = {name: np.roll(getattr(flow, name), shift, axis=0) for name in ("book_price", "book_size")}
    with pytest.raises(InputError, match="shifted against each other") as caught:
        check_aligned(dataclasses.replace(flow, **shifted), where="here")
    assert told in str(caught.value.was)


def test_messages_that_contradict_their_books_are_only_counted(flow):
    share = check_aligned(dataclasses.replace(flow, size=flow.size + 1), where="")
    assert share == 0.0
    assert check_aligned(flow.select([]), where="") is None
