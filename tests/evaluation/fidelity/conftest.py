"""A simulated flow, and flows of hand-made rows."""

import numpy as np
import pytest

from lob_jax.events.instrument import Instrument
from lob_jax.feeds.load import load_incremental_data
from lob_jax.statistics.flow import Flow, disjoint_spans, flow_of_spans

INSTRUMENT = Instrument("TEST", "XNAS", "2012-06-21", time_zone="America/New_York")


@pytest.fixture(scope="session")
def flow():
    """Eight sequences of 150 messages of a simulated day, ten levels per side."""
    day = load_incremental_data(events=2000, seed=4)
    return flow_of_spans(day, disjoint_spans(len(day.events), length=150)[1:9], levels=10)  # the first has the opening


def flow_of_rows(rows, edges=None) -> Flow:
    """A flow of dictionaries: time_ns, kind, side, price, size, order_id, and book, the levels of bid and ask."""
    levels = max([2, *(len(side) for row in rows for side in row.get("book", ()))])
    book = np.zeros((2, len(rows), 2, levels), np.int64)
    for i, row in enumerate(rows):
        for s, side in enumerate(row.get("book", ())):
            for k, level in enumerate(side):
                book[:, i, s, k] = level

    def column(name, dtype, default):
        return np.array([row.get(name, default) for row in rows], dtype)

    return Flow(
        INSTRUMENT,
        np.array([0, len(rows)] if edges is None else edges),
        time_ns=column("time_ns", np.int64, 1),
        kind=column("kind", np.uint8, 1),
        side=column("side", np.int8, 1),
        price=column("price", np.int64, 100),
        size=column("size", np.int64, 1),
        order_id=column("order_id", np.uint64, 1),
        book_price=book[0],
        book_size=book[1],
    )


@pytest.fixture(scope="session")
def tiny_flow():
    return flow_of_rows
