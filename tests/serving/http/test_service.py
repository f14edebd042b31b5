"""What routes share: limits of each key."""

import asyncio

import pytest

from lob_jax.serving.http.problems import Problem
from lob_jax.serving.http.service import Rates
from tests.serving.settings import limits


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_bucket_empties_and_fills():
    clock = Clock()
    rates = Rates(limits(rate_per_s=2.0, burst=3), clock=clock)
    for _ in range(3):
        rates.spend("alice")
    with pytest.raises(Problem) as caught:
        rates.spend("alice")
    assert (caught.value.name, caught.value.headers["Retry-After"]) == ("too-many-requests", "1")
    rates.spend("bob")  # keys do not share
    clock.now += 0.5
    rates.spend("alice")
    with pytest.raises(Problem):
        rates.spend("alice")
    clock.now += 1000
    for _ in range(3):
        rates.spend("alice")
    with pytest.raises(Problem):
        rates.spend("alice")


def test_a_long_wait_is_named():
    rates = Rates(limits(rate_per_s=0.1, burst=1), clock=Clock())
    rates.spend("alice")
    with pytest.raises(Problem) as caught:
        rates.spend("alice")
    assert caught.value.headers["Retry-After"] == "10"


def test_places_are_given_back_also_after_an_error():
    rates = Rates(limits(streams=1))

    async def use():
        for error in (ValueError, None):
            try:
                async with rates.opened("alice"):
                    async with rates.opened("bob"):
                        pass
                    with pytest.raises(Problem, match="at most 1 open"):
                        async with rates.opened("alice"):
                            pass
                    if error:
                        raise error
            except ValueError:
                pass

    asyncio.run(use())
