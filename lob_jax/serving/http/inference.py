"""The Open Inference Protocol, version 2: the graph of complete windows, on tensors in JSON."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from fastapi import Request
from starlette.responses import Response, StreamingResponse

import lob_jax
from lob_jax.serving import requests
from lob_jax.serving.config import Limits
from lob_jax.serving.http import schemas
from lob_jax.serving.http.problems import invalid
from lob_jax.serving.http.routes import json_response
from lob_jax.serving.http.service import Service
from lob_jax.serving.http.translate import Asked
from lob_jax.serving.records import Fault, shown
from lob_jax.serving.requests import ModelFacts

DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
OF_DTYPE = {dtype: name for name, dtype in DATATYPES.items()}
CHUNK = 4096  # values that are written at once

Sizes = Mapping[str, tuple[str, tuple[int | str, ...]]]


class Inference:
    """The endpoints of the protocol."""

    def __init__(self, service: Service):
        self.service = service

    async def server(self) -> Response:
        """Return what the server is."""
        return json_response({"name": "lob_jax", "version": lob_jax.__version__, "extensions": []})

    async def model(self, name: str) -> Response:
        """Return the inputs and outputs of a model."""
        facts = self.service.servers[self.service.named(name)].facts
        return json_response(
            {
                "name": name,
                "versions": [facts.fingerprint],
                "platform": "lob_jax",
                "inputs": [_described(*one) for one in facts.inputs.items()],
                "outputs": [_described(*one) for one in facts.outputs.items()],
            }
        )

    async def model_ready(self, name: str) -> Response:
        """Say whether a model takes requests: status 503 if it does not."""
        ready = self.service.servers[self.service.named(name)].ready and not self.service.leaving
        return json_response({"name": name, "ready": ready}, status=200 if ready else 503)

    async def infer(self, request: Request, name: str) -> Response:
        """Run the graph of complete windows."""
        facts = self.service.servers[self.service.named(name)].facts

        def read(plain: Any) -> tuple[Asked, schemas.InferAsked]:
            asked = schemas.validated(schemas.InferAsked, plain)
            return Asked(inputs_of(asked, facts, self.service.limits)), asked

        asked, given = await self.service.read(request, read)
        last = await self.service.finished(request, name, asked)
        head = {"model_name": name, "model_version": facts.fingerprint, **({"id": given.id} if given.id else {})}
        arrays = {wanted: np.ascontiguousarray(array) for wanted, array in last.result.items()}
        _check_finite(arrays)
        return StreamingResponse(_written(head, arrays), media_type="application/json")


def _described(name: str, of: tuple[str, tuple[int | str, ...]]) -> dict[str, Any]:
    dtype, shape = of
    return {
        "name": name,
        "datatype": OF_DTYPE[dtype],
        "shape": [-1 if isinstance(size, str) else size for size in shape],
    }


def inputs_of(asked: schemas.InferAsked, facts: ModelFacts, limits: Limits) -> requests.Infer:
    """Return the request of an engine, after everything about its arrays has been checked.

    Raises:
      Problem: an array is missing, unknown or twice, of another type or shape than the model's, or too large.
    """
    _check_parameters(asked)
    names = [tensor.name for tensor in asked.inputs]
    _require(sorted(names) == sorted(facts.inputs), "/inputs", f"each of {', '.join(facts.inputs)} once", names)
    wanted = tuple(output.name for output in asked.outputs or ())
    known = len(set(wanted)) == len(wanted) and set(wanted) <= set(facts.outputs)
    _require(known, "/outputs", f"some of {', '.join(facts.outputs)}, each once", list(wanted))
    sizes: dict[str, int] = {}
    for index, tensor in enumerate(asked.inputs):
        dtype, shape = facts.inputs[tensor.name]
        at = f"/inputs/{index}"
        _require(tensor.datatype == OF_DTYPE[dtype], f"{at}/datatype", OF_DTYPE[dtype], tensor.datatype)
        _check_shape(tensor.shape, shape, sizes, at=f"{at}/shape")
        tokens = math.prod(tensor.shape[:2])
        _require(tokens <= limits.infer_tokens, f"{at}/shape", f"at most {limits.infer_tokens:,} tokens", tokens)
    values = sum(_values(facts.outputs[name][1], sizes) for name in wanted or facts.outputs)
    _require(values <= limits.infer_values, "/outputs", f"outputs of at most {limits.infer_values:,} values", values)
    arrays = {tensor.name: array_of(tensor, at=f"/inputs/{index}") for index, tensor in enumerate(asked.inputs)}
    return requests.Infer(arrays, wanted)


def _check_parameters(asked: schemas.InferAsked) -> None:
    places = {"/parameters": asked.parameters}
    places |= {f"/inputs/{index}/parameters": one.parameters for index, one in enumerate(asked.inputs)}
    places |= {f"/outputs/{index}/parameters": one.parameters for index, one in enumerate(asked.outputs or ())}
    for pointer, given in places.items():
        _require(not given, pointer, "no parameters: this server has none", given)


def _check_shape(given: Sequence[int], wanted: Sequence[int | str], sizes: dict[str, int], *, at: str) -> None:
    """Check a shape, and note the sizes that the caller has chosen, which have to be the same everywhere."""
    _require(len(given) == len(wanted), at, f"{len(wanted)} sizes", list(given))
    for place, (size, name) in enumerate(zip(given, wanted, strict=True)):
        expected = sizes.setdefault(name, size) if isinstance(name, str) else name
        _require(size == expected and size >= 1, f"{at}/{place}", max(expected, 1), size)


def _values(shape: Sequence[int | str], sizes: Mapping[str, int]) -> int:
    return math.prod(sizes.get(size, 1) if isinstance(size, str) else size for size in shape)


def array_of(tensor: schemas.Tensor, *, at: str) -> np.ndarray:
    """Return the array of a tensor, whose data are flat or nested as its shape is.

    Raises:
      Problem: there are too many values or too few, or one is not of the datatype.
    """
    values = _flat(tensor.data, tensor.shape, at=f"{at}/data")
    dtype = np.dtype(DATATYPES[tensor.datatype])
    kinds = {"b": {bool}, "f": {int, float, Decimal}}.get(dtype.kind, {int})
    wrong = [value for value in values if type(value) not in kinds]
    _require(not wrong, f"{at}/data", f"values of {tensor.datatype}", wrong[0] if wrong else "")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        fits = all(limits.min <= value <= limits.max for value in values)
        _require(fits, f"{at}/data", f"{limits.min} to {limits.max}", "a value outside")
        return np.array(values, dtype).reshape(tensor.shape)
    with np.errstate(over="ignore"):
        array = np.array([float(value) for value in values]).astype(dtype)
    _require(bool(np.isfinite(array).all()), f"{at}/data", f"values in the range of {tensor.datatype}", "one outside")
    return array.reshape(tensor.shape)


def _flat(data: list[Any], shape: Sequence[int], *, at: str) -> list[Any]:
    total = math.prod(shape)
    if not any(isinstance(value, list) for value in data):
        _require(len(data) == total, at, f"{total:,} values, the product of shape", len(data))
        return data
    level: list[Any] = [data]
    for size in shape:
        fits = all(isinstance(part, list) and len(part) == size for part in level)
        _require(fits, at, "lists nested as shape is", "another nesting")
        level = [value for part in level for value in part]
    return level


def _require(holds: bool, pointer: str, expected: object, was: object) -> None:
    if not holds:
        raise invalid([Fault(pointer, str(expected), shown(was))], detail="the tensors do not fit the model")


def _check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Check that JSON can hold the values."""
    for name, array in arrays.items():
        finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
        _require(finite, "/inputs", f"values for which the output {name} is finite", "too large or too small ones")


async def _written(head: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> AsyncGenerator[bytes]:
    """Yield a response in parts, so that other requests have their turn between them."""
    yield json.dumps(dict(head))[:-1].encode() + b', "outputs": ['
    for place, (name, array) in enumerate(arrays.items()):
        told = {"name": name, "shape": list(array.shape), "datatype": OF_DTYPE[array.dtype.name]}
        yield (b", " if place else b"") + json.dumps(told)[:-1].encode() + b', "data": ['
        for part in _parts(array.reshape(-1)):
            yield part
            await asyncio.sleep(0)
        yield b"]}"
    yield b"]}"


def _parts(values: np.ndarray) -> Iterator[bytes]:
    for first in range(0, len(values), CHUNK):
        text = json.dumps(values[first : first + CHUNK].tolist(), separators=(",", ":"))[1:-1]
        yield ("," if first else "").encode() + text.encode()
