"""The Open Inference Protocol on tensors in JSON."""

import copy
import json

import numpy as np
import pytest

from lob_jax.serving.http import described, schemas
from lob_jax.serving.http.inference import DATATYPES, array_of
from lob_jax.serving.http.problems import Problem
from tests.serving.http.raw import connected, post

ASKED = {
    "id": "seven",
    "inputs": [
        {"name": "tokens", "shape": [1, 2], "datatype": "INT32", "data": [[7, 8]]},
        {"name": "book", "shape": [1, 2, 4], "datatype": "FP32", "data": [0, 1.5, 2, 3, 4, 5, 6, -7]},
    ],
    "outputs": [{"name": "logits"}],
}
INFER = "/v2/models/stub/infer"


def changed(**changes):
    """Return the request with changes by path, such as inputs_0_shape."""
    asked = copy.deepcopy(ASKED)
    for path, value in changes.items():
        at, *steps = [asked, *(int(step) if step.isdigit() else step for step in path.split("_"))]
        for step in steps[:-1]:
            at = at[step]
        at[steps[-1]] = value
    return asked


def test_tensors_reach_the_engine_and_results_come_back(server):
    found = server.client.post(INFER, json=ASKED).json()
    described.Inferred.model_validate(found, strict=True)
    asked = server.stub.jobs[-1].request
    assert asked.outputs == ("logits",) and {*asked.inputs} == {"tokens", "book"}
    np.testing.assert_array_equal(asked.inputs["tokens"], np.array([[7, 8]], np.int32))
    np.testing.assert_array_equal(asked.inputs["book"], np.array([[[0, 1.5, 2, 3], [4, 5, 6, -7]]], np.float32))
    assert [array.dtype.name for array in asked.inputs.values()] == ["int32", "float32"]
    (output,) = found["outputs"]
    assert (found["id"], found["model_name"], found["model_version"]) == ("seven", "stub", "0" * 64)
    assert (output["name"], output["shape"], output["datatype"]) == ("logits", [1, 2, 8], "FP32")
    assert output["data"] == [0.0] * 16


def test_a_large_answer_is_whole(start, monkeypatch):
    running = start()
    made = np.random.default_rng(0).normal(size=(1, 1500, 8)).astype(np.float32)
    monkeypatch.setattr(running.stub, "_infer", lambda asked: {"logits": made})
    tokens = {"name": "tokens", "shape": [1, 1500], "datatype": "INT32", "data": [1] * 1500}
    book = {"name": "book", "shape": [1, 1500, 4], "datatype": "FP32", "data": [0] * 6000}
    found = running.client.post(INFER, json={"inputs": [tokens, book]}).json()
    np.testing.assert_array_equal(np.array(found["outputs"][0]["data"], np.float32), made.reshape(-1))


def test_metadata(server):
    for path, of in (("/v2", described.ServerMetadata), ("/v2/models/stub", described.ModelMetadata)):
        of.model_validate(server.client.get(path).json(), strict=True)
    model = server.client.get("/v2/models/stub").json()
    assert model["inputs"][1] == {"name": "book", "datatype": "FP32", "shape": [-1, -1, 4]}
    missing = server.client.get("/v2/models/other")
    assert missing.status_code == 404 and missing.json()["error"] == missing.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"inputs_0_name": "other"}, "/inputs"),
        ({"inputs_0_name": "book"}, "/inputs"),
        ({"inputs": [ASKED["inputs"][0]]}, "/inputs"),
        ({"inputs_0_datatype": "INT64"}, "/inputs/0/datatype"),
        ({"inputs_0_datatype": "int32"}, "/inputs/0/datatype"),
        ({"inputs_0_shape": [2]}, "/inputs/0/shape"),
        ({"inputs_0_shape": [2, 1]}, "/inputs/1/shape/0"),
        ({"inputs_0_shape": [0, 2]}, "/inputs/0/shape/0"),
        ({"inputs_0_shape": [-1, 2]}, "/inputs/0/shape/0"),
        ({"inputs_1_shape": [1, 2, 3]}, "/inputs/1/shape/2"),
        ({"inputs_0_shape": [1, 8193]}, "/inputs/0/shape"),
        ({"inputs_0_shape": [10**15, 10**15]}, "/inputs/0/shape"),
        ({"inputs_0_data": [1]}, "/inputs/0/data"),
        ({"inputs_0_data": [[1], [2]]}, "/inputs/0/data"),
        ({"inputs_0_data": [[1, [2]]]}, "/inputs/0/data"),
        ({"inputs_0_data": [1, 2.0]}, "/inputs/0/data"),
        ({"inputs_0_data": [1, True]}, "/inputs/0/data"),
        ({"inputs_0_data": [1, "2"]}, "/inputs/0/data"),
        ({"inputs_0_data": [1, None]}, "/inputs/0/data"),
        ({"inputs_0_data": [1, 2**31]}, "/inputs/0/data"),
        ({"inputs_1_data": [0, 1, 2, 3, 4, 5, 6, 1e39]}, "/inputs/1/data"),
        ({"outputs_0_name": "other"}, "/outputs"),
        ({"outputs": [{"name": "logits"}] * 2}, "/outputs"),
        ({"parameters": {"binary_data_output": True}}, "/parameters"),
        ({"inputs_1_parameters": {"binary_data_size": 3}}, "/inputs/1/parameters"),
        ({"more": 1}, "/more"),
    ],
)
def test_tensors_that_do_not_fit_are_named_by_their_place(server, changes, pointer):
    before = len(server.stub.jobs)
    refused = server.client.post(INFER, json=changed(**changes))
    assert (refused.status_code, refused.json()["pointer"]) == (422, pointer)
    assert refused.json()["error"] and len(server.stub.jobs) == before


def test_an_answer_that_would_be_too_large_is_refused(start):
    running = start(infer_values=15)
    assert running.client.post(INFER, json=ASKED).json()["pointer"] == "/outputs"


def test_inputs_whose_answer_json_cannot_hold_are_refused(start, monkeypatch):
    running = start()
    monkeypatch.setattr(running.stub, "_infer", lambda asked: {"logits": np.full((1, 2, 8), np.inf, np.float32)})
    found = running.client.post(INFER, json=ASKED)
    assert (found.status_code, found.json()["pointer"]) == (422, "/inputs") and "logits" in found.json()["expected"]


@pytest.mark.parametrize("datatype", DATATYPES)
def test_each_datatype_holds_its_range(datatype):
    dtype = np.dtype(DATATYPES[datatype])
    values = {"b": [True, False], "f": [0, -1.5]}.get(dtype.kind)
    if values is None:
        values = [int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)]
    tensor = {"name": "a", "shape": [2], "datatype": datatype}
    found = array_of(schemas.Tensor(**tensor, data=values), at="")
    assert found.dtype == dtype and found.tolist() == values
    wrong = [2, 0] if dtype.kind == "b" else [values[0], True] if dtype.kind == "f" else [values[1] + 1, 0]
    with pytest.raises(Problem):
        array_of(schemas.Tensor(**tensor, data=wrong), at="")


def test_a_client_that_leaves_ends_its_job(start):
    running = start()
    running.stub.held.clear()
    raw = connected(running)
    raw.sendall(post(running, INFER, json.dumps(ASKED).encode()))
    while not running.stub.jobs:
        pass
    raw.close()
    assert running.stub.jobs[0].cancelled.wait(20)
