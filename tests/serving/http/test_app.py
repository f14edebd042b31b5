"""The description of the API is complete and true."""

import json
import subprocess
import sys

import pytest
import schemathesis
from jsonschema import Draft202012Validator

from tests.serving.http.conftest import ADD, HISTORY


@pytest.fixture(scope="module")
def description(server):
    return server.client.get("/openapi.json").json()


def test_it_is_a_valid_description_that_tools_read(description):
    loaded = schemathesis.openapi.from_dict(description)
    loaded.validate()
    operations = [operation.ok() for operation in loaded.get_all_operations()]
    assert len(operations) == 20 and description["openapi"].startswith("3.1")
    assert {operation.path for operation in operations} == {*description["paths"]}
    for schema in description["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_route_says_what_it_takes_and_returns_and_who_may_call_it(description):
    assert description["security"] == [{"key": []}]
    assert description["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation.get("security") == ([] if "/health/" in path else None)
            assert ("requestBody" in operation) == (method == "post")
            (status,) = {*operation["responses"]} - {"default"}
            assert status == ("201" if path == "/v1/sessions" else "200")
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            content = operation["responses"][status]["content"]
            assert [*content] == ["text/plain"] if path == "/metrics" else content["application/json"]["schema"]["$ref"]
    stream = description["paths"]["/v1/generate"]["post"]["responses"]["200"]["content"]
    assert "text/event-stream" in stream


@pytest.fixture(scope="module")
def validator(description):
    def validator(name):
        parts = {"components": description["components"]}
        return Draft202012Validator({**parts, "$ref": f"#/components/schemas/{name}"})

    return validator


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("FeedAsked", {"events": [ADD]}, {"events": [{**ADD, "side": "buy"}]}),
        ("FeedAsked", {"events": [{"kind": "level", "side": "bid", "price": 1, "size": "0"}]}, {"events": [{}]}),
        ("FeedAsked", {"events": [{"time": 1, "kind": "control", "code": "halt"}]}, {"events": {}}),
        ("SessionAsked", {"history": HISTORY}, {"history": {"opening": {"time": 1}}}),
        ("GenerateAsked", {"session": "x", "paths": 2}, {"session": "x", "paths": 0}),
        ("GenerateAsked", {"history": HISTORY, "stream": True}, {"history": HISTORY, "more": 1}),
    ],
)
def test_requests_are_described_as_they_are_read(server, validator, name, good, bad):
    validator(name).validate(good)
    assert not validator(name).is_valid(bad)
    path = {"FeedAsked": f"/v1/sessions/{server.opened()}/events", "SessionAsked": "/v1/sessions"}
    assert server.client.post(path.get(name, "/v1/generate"), json=bad).status_code == 422
    assert server.client.post(path.get(name, "/v1/generate"), json=good).status_code != 422


RECORDED = (
    ("/v1/predict", {"history": HISTORY, "moves": {"paths": 1, "events": 1}}),
    ("/v1/forecast", {"history": HISTORY}),
)


@pytest.mark.parametrize(("path", "body"), RECORDED)
def test_responses_are_as_they_are_described(server, description, validator, path, body):
    response = server.client.post(path, json=body)
    reference = description["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    validator(reference.rpartition("/")[2]).validate(response.json())
    problem = server.client.post(path, json={"history": HISTORY, "more": 1, "other": 2}).json()
    validator("Problem").validate(problem)
    assert len(problem["errors"]) == 2 and json.dumps(problem)


def test_nothing_is_loaded_from_elsewhere(server):
    for path in ("/docs", "/redoc"):
        assert server.client.get(path).status_code == 404


def test_it_knows_no_jax_and_no_onnx():
    program = "import sys, lob_jax.serving.http.serve, lob_jax.serving.stub; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"jax", "jaxlib", "flax", "onnx", "onnxruntime", "lob_jax.runs"} & {*done.stdout.split()}
