"""Requests and responses as they are described."""

import typing

import pytest

from lob_jax.serving import openings, records
from lob_jax.serving.http import schemas
from lob_jax.serving.http.problems import Problem
from lob_jax.serving.http.schemas import pointer_of, validated


def test_the_words_of_the_description_are_those_that_are_read():
    assert {*typing.get_args(schemas.EventKind), "control"} == {*records.KINDS}
    assert {*typing.get_args(schemas.ControlCode)} == {*records.CODES}
    assert {*typing.get_args(schemas.Side)} == {*records.SIDES}
    assert {*typing.get_args(schemas.Closed)} == {*openings.CLOSED_NUMBERS}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ({"path": 1}, "/path"),
        ({"paths": "1"}, "/paths"),
        ({"paths": True}, "/paths"),
        ({"paths": 0}, "/paths"),
        ({"seed": 2**32}, "/seed"),
        ({"temperature": "1"}, "/temperature"),
        ({"temperature": True}, "/temperature"),
        ({"stream": 1}, "/stream"),
        ({"session": 5}, "/session"),
        ({"history": {"opening": {}, "more": 1}}, "/history/more"),
        ({"history": {"opening": []}}, "/history/opening"),
        ({"history": {"opening": {}, "events": {}}}, "/history/events"),
        ({"deadline_s": 0}, "/deadline_s"),
        ({"deadline_s": -1}, "/deadline_s"),
    ],
)
def test_bodies_are_strict(body, pointer):
    with pytest.raises(Problem) as caught:
        validated(schemas.GenerateAsked, body)
    assert caught.value.members["pointer"] == pointer


def test_all_faults_are_told():
    with pytest.raises(Problem) as caught:
        validated(schemas.GenerateAsked, {"paths": 0, "events": 0})
    assert [fault["pointer"] for fault in caught.value.members["errors"]] == ["/paths", "/events"]


def test_pointers_are_escaped():
    assert pointer_of(("a/b", 0, "c~d")) == "/a~1b/0/c~0d"
