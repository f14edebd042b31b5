"""Errors as problems: a client is told what it can use."""

import pytest

from lob_jax.errors import InputError
from lob_jax.serving import requests
from lob_jax.serving.http.problems import KINDS, problem_of, response_of
from lob_jax.serving.records import Fault, InvalidRecords


def contradiction(event):
    error = InputError("too much is cancelled", where="event 3", expected="1", was="2", remedy="look")
    error.event = event
    return error


@pytest.mark.parametrize(
    ("error", "name", "status"),
    [
        (requests.Busy("full", retry_after_s=2.5), "busy", 429),
        (requests.Late("late"), "late", 504),
        (requests.Unknown("none"), "unknown-session", 404),
        (requests.Leaving("bye"), "leaving", 503),
        (requests.Cancelled("by the server"), "leaving", 503),
        (requests.Refusal("no"), "refused", 503),
        (contradiction(3), "invalid-event", 409),
        (InputError("no", where="x", expected="1", was="2", remedy="y"), "invalid-request", 422),
        (InvalidRecords("no", [Fault("/a", "1", "2")]), "invalid-request", 422),
        (RuntimeError("a secret"), "failed", 500),
        (ValueError("a secret"), "failed", 500),
        (KeyError("a secret"), "failed", 500),
    ],
)
def test_each_error_has_a_kind(error, name, status):
    problem = problem_of(error)
    body = problem.body("id")
    assert (problem.name, problem.status, body["status"]) == (name, status, status)
    assert (body["type"], body["title"], body["request_id"]) == (f"/problems/{name}", KINDS[name].title, "id")
    assert "a secret" not in str(body)


def test_an_event_that_contradicts_the_book_is_named_by_its_place():
    body = problem_of(contradiction(3), locate=lambda event: f"/events/{event + 10}").body("id")
    assert (body["pointer"], body["event"], body["expected"], body["was"]) == ("/events/13", 3, "1", "2")
    assert body["remedy"] == "look" and body["where"] == "event 3"


def test_busy_says_when():
    response = response_of(problem_of(requests.Busy("full", retry_after_s=2.5)), "id")
    assert response.headers["retry-after"] == "3"
    assert response.headers["content-type"] == "application/problem+json"
    assert response_of(problem_of(requests.Busy("full", retry_after_s=0.0)), "id").headers["retry-after"] == "1"


def test_long_values_are_cut_off():
    body = problem_of(InputError("no", where="/a", expected="x" * 10_000, was="y", remedy="z")).body("id")
    assert len(body["expected"]) < 500 and body["pointer"] == "/a"
