"""The user's orders as text."""

import dataclasses

import pytest

from lob_jax.errors import InputError
from lob_jax.events.instrument import NS_PER_SECOND
from lob_jax.generation.generated import Fill, Outcome
from lob_jax.generation.settings import Order
from lob_jax.generation.user_orders import orders_for, outcomes_to_json
from tests.generation.market import INSTRUMENT

FINE = dataclasses.replace(INSTRUMENT, lot_scale=100)
AT = INSTRUMENT.midnight_ns() + 37_805 * NS_PER_SECOND


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("buy 500 @ 585.33 after 20", Order(1, 500, 5_853_300, after_events=20)),
        ("  sell  9 @ market  at 10:30:05 ", Order(-1, 9, at_ns=AT)),
        ("sell 9 @ 1 at 10:30:05.000000250", Order(-1, 9, 10_000, at_ns=AT + 250)),
    ],
)
def test_an_order_is_read(text, order):
    assert orders_for([text], INSTRUMENT) == (order,)


def test_quantities_are_in_lots():
    assert orders_for(["buy 0.25 @ market after 0"], FINE)[0].size == 25


@pytest.mark.parametrize(
    "text",
    [
        "buy 5 @ 585.333 after 20",
        "buy 0.5 @ 585 after 2",
        "hold 5 @ 585 after 2",
        "buy 5 @ 585",
        "buy 5 @ 585 after 2.5",
        "buy 5 @ market at 10:75:00",
        "buy 5 @ market at 10:30:60",
    ],
)
def test_what_is_no_order_is_refused(text):
    with pytest.raises(InputError, match="this is not an order"):
        orders_for([text], INSTRUMENT)


def test_outcomes_are_in_units_of_quantity_and_currency():
    outcome = Outcome(True, 0, 300, 0, fills=(Fill(7, 5_853_300, 50, True),), left=250)
    (order,) = outcomes_to_json(["an order"], [[outcome]], FINE)["paths"][0]
    assert order["fills"] == [{"time_ns": 7, "price": 585.33, "size": 0.5, "resting": True}]
    assert (order["rested"], order["left"], order["filled"]) == (3, 2.5, 0)
