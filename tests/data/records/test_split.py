"""Splits by event index, literal and by property; embargoes that are too short are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob_jax.data.records.split import (
    Part,
    check_embargo,
    day_parts,
    lead_events,
    number_days,
    required_embargo,
    split_day,
    split_names,
)
from lob_jax.errors import InputError


def test_one_day_is_cut_in_three_with_embargoes_in_front():
    parts = split_day(10_000, train_fraction=0.7, validation_fraction=0.1, embargo_events=600)
    assert parts == [
        Part("train", 0, 7_000, 0),
        Part("validation", 7_600, 8_000, 600),
        Part("test", 8_600, 10_000, 600),
    ]


def test_of_two_days_the_first_trains_and_the_second_is_cut_in_two():
    cut = {"days": 2, "train_fraction": 0.7, "validation_fraction": 0.1, "embargo_events": 50}
    assert day_parts(900, day=0, **cut) == [Part("train", 0, 900, 0)]
    assert day_parts(900, day=1, **cut) == [Part("validation", 0, 300, 0), Part("test", 350, 900, 50)]


def test_three_days_and_more_are_split_by_day():
    assert [split_names(day, 5) for day in range(5)] == [("train",)] * 3 + [("validation",), ("test",)]
    cut = {"days": 5, "train_fraction": 0.7, "validation_fraction": 0.1, "embargo_events": 50}
    assert day_parts(77, day=4, **cut) == [Part("test", 0, 77, 0)]


@pytest.mark.parametrize("days", [1, 2, 3])
def test_flow_that_is_trained_on_alone_is_in_the_training_split(days):
    cut = {"days": days, "train_fraction": 1.0, "validation_fraction": 0.1, "embargo_events": 50}
    assert [day_parts(7, day=day, **cut) for day in range(days)] == [[Part("train", 0, 7, 0)]] * days


def test_the_instruments_of_a_trading_day_share_its_number():
    days = [("2024-01-02", "A"), ("2024-01-02", "B"), ("2024-01-04", "A"), ("2024-01-05", "A"), ("2024-01-05", "C")]
    assert number_days(days) == ([0, 0, 1, 2, 2], 3)
    assert number_days([]) == ([], 0)


@pytest.mark.parametrize(
    "days, message",
    [
        ([("2024-01-03", "A"), ("2024-01-02", "A")], "sorted from the oldest"),
        ([("2024-01-02", "A"), ("2024-01-03", "A"), ("2024-01-02", "B")], "sorted from the oldest"),
        ([("2024-01-02", "A"), ("2024-01-02", "B"), ("2024-01-02", "A")], "occurs twice"),
    ],
)
def test_days_come_oldest_first_and_once(days: list, message: str):
    with pytest.raises(InputError, match=message):
        number_days(days)


@given(
    events=st.integers(0, 5_000),
    train=st.floats(0.05, 0.9),
    share=st.floats(0.05, 0.95),
    embargo=st.integers(0, 300),
)
def test_parts_are_in_order_and_an_embargo_apart(events: int, train: float, share: float, embargo: int):
    fractions = {"train_fraction": train, "validation_fraction": (1 - train) * share}
    try:
        parts = split_day(events, embargo_events=embargo, **fractions)
    except InputError as error:
        assert "too short" in error.what
        return
    assert [part.name for part in parts] == ["train", "validation", "test"]
    assert parts[0].first == 0 and parts[-1].last == events
    for before, part in zip(parts[:-1], parts[1:], strict=True):
        assert part.first - before.last == embargo == part.lead
        assert part.last > part.first


@pytest.mark.parametrize("train, validation", [(0.0, 0.5), (0.9, 0.1), (0.7, 0.4), (0.5, 0.0)])
def test_fractions_must_leave_every_split_a_share(train: float, validation: float):
    with pytest.raises(InputError, match="without events"):
        split_day(1_000, train_fraction=train, validation_fraction=validation, embargo_events=1)


def test_a_day_too_short_for_its_embargo_is_refused():
    with pytest.raises(InputError, match="too short for its validation part"):
        split_day(1_000, train_fraction=0.7, validation_fraction=0.1, embargo_events=100)


@pytest.mark.parametrize("context, embargo", [(2, 2), (16, 9), (17, 9), (1024, 513)])
def test_an_embargo_must_be_longer_than_a_context_of_shortest_events(context: int, embargo: int):
    assert required_embargo(context) == embargo
    check_embargo(embargo, context_tokens=context)
    with pytest.raises(InputError, match=rf"at least {embargo} events"):
        check_embargo(embargo - 1, context_tokens=context)


@given(st.integers(2, 4_096))
def test_a_lead_holds_half_a_context_and_fits_the_embargo(context: int):
    assert 2 * lead_events(context) >= context / 2
    assert lead_events(context) <= required_embargo(context)
