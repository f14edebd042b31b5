"""A small bundle whose contents are made up, ONNX files of a few bytes, and how a bundle is damaged and refused."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from lob_jax.config.sections import model_config
from lob_jax.configs import tiny
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.export import manifest
from lob_jax.export.bundle import ALWAYS, VOCABULARY_KEY, open_bundle, write_bundle
from lob_jax.export.card import make_card
from lob_jax.export.contents import Contents, Reveals, Sampling, Settings
from lob_jax.export.manifest import MANIFEST
from lob_jax.export.plain import text_of
from lob_jax.tokens.exact import ExactTokenizer

VOCABULARY = ExactTokenizer.from_settings(time_digits=5).vocabulary
SAMPLING = Sampling(100, 4, 500, 1.0, 0, 1.0, 0.0, True, 0)
INSTRUMENT = Instrument("GOOG", "NASDAQ", "2012-06-21", "America/New_York")
PAIRS = np.array([[1, 2, 5], [1, 0, 0]], np.int32)
REVEALS = Reveals(PAIRS, 10 * PAIRS, np.array([3, 1], np.int32))
ESCAPES = np.arange(1, 64).reshape(9, 7) / 1_000
FILES = sorted([*ALWAYS, MANIFEST, "forward.onnx", "forward.onnx.data", "step.onnx", "stablehlo/forward.bin"])
WEIGHTS = {"embed/table": np.arange(12, dtype=np.float32).reshape(3, 4), "head/bias": np.zeros(5, np.float32)}


@functools.cache
def contents():
    model = model_config(tiny.get_config())
    settings = Settings(model.book_features // 4, 10, True, ("GOOG",), None, SAMPLING)
    return Contents(model, VOCABULARY, INSTRUMENT, settings, np.arange(1, 9, dtype=np.int32), REVEALS, ESCAPES)


def card(**changes):
    told = {
        "title": "a model",
        "model": contents().model.to_dict(),
        "parameters": 17,
        "vocabulary": {"tokenizer": "exact", "time_digits": 5, "references": "newest", "hash": VOCABULARY.hash},
        "training": {"step": 1200, "validation_loss": 4.25},
        "data": {
            "feed": "lobster",
            "days": ["GOOG 2012-06-21"],
            "splits": {"train": {"events": 70_000, "records": 68, "tokens": 280_000}},
            "fingerprint": {"format": 6, "inputs": {"day.csv": "ab"}},
        },
        "versions": {"lob_jax": "0.2.0", "jax": "0.10.2"},
    }
    return make_card(**{**told, **changes})


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, content):
    """Encode a field of a message; a number, or bytes with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(key, value):
    return field(1, key.encode()) + field(2, value.encode())


def tensor(location=None):
    """Encode a TensorProto, with its numbers in another file or inside."""
    start = field(1, 4) + field(2, 1) + field(8, b"w")
    if location is None:
        return start + field(9, bytes(16))
    return start + field(13, entry("location", location)) + field(13, entry("offset", "0")) + field(14, 1)


def graph(*locations, vocabulary=VOCABULARY.hash, nested=0):
    """Encode an ONNX file whose initializers are in other files; `nested` in so many branches inside each other."""
    body = b"".join(field(5, tensor(location)) for location in locations) + field(5, tensor())
    for _ in range(nested):
        body = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, body)))
    return field(1, 10) + field(7, body) + field(14, entry(VOCABULARY_KEY, vocabulary))


def artifacts(folder):
    """Write graphs, and return their roles."""
    (folder / "step.onnx").write_bytes(graph())
    (folder / "forward.onnx").write_bytes(graph("forward.onnx.data"))
    (folder / "forward.onnx.data").write_bytes(bytes(16))
    (folder / "stablehlo").mkdir()
    (folder / "stablehlo" / "forward.bin").write_bytes(b"module")
    graphs = {"forward": "forward.onnx", "step": "step.onnx"}
    return {"graphs": graphs, "stablehlo": {"forward": "stablehlo/forward.bin"}}


def write(folder, *, write=artifacts, **changes):
    made = dataclasses.replace(contents(), **changes)
    return write_bundle(folder, made, weights=WEIGHTS, card=card(), about={"step": 1200}, write=write)


def refused(folder, **how):
    """Return the error with which a bundle is refused."""
    with pytest.raises(InputError) as caught:
        open_bundle(folder, **how)
    error = caught.value
    assert error.remedy and str(folder) in str(error.where)
    return error


def reseal(folder, **changes):
    """Write the manifest again, as if the files had been written so."""
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).unlink()
    manifest.seal(folder, **{"vocabulary": content["vocabulary"], "roles": content["roles"], **changes})


def edit(folder, name, changes):
    """Change a JSON file of a bundle as if it had been written so."""
    path = folder / name
    content = json.loads(path.read_text())
    changes(content)
    path.write_text(text_of(content))
    reseal(folder)
