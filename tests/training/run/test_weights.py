import json
import struct

import jax
import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.models.transformer import initial_parameters
from lob_jax.training.run.weights import flat, load_weights, save_weights, sha256_of


@pytest.fixture
def params(model_config):
    return jax.tree.map(np.asarray, initial_parameters(model_config(tie_embeddings=False), jax.random.key(0)))


def test_parameters_come_back_bit_for_bit(params, tmp_path):
    save_weights(tmp_path / "weights.safetensors", params, about={"step": 7})
    found, about = load_weights(tmp_path / "weights.safetensors")
    assert jax.tree.structure(found) == jax.tree.structure(params)
    assert all(map(np.array_equal, jax.tree.leaves(found), jax.tree.leaves(params)))
    assert about == {"step": 7}
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_the_file_is_a_header_in_json_and_plain_numbers(params, tmp_path):
    """As specified by the format: the header's length, the header, the arrays."""
    save_weights(tmp_path / "weights.safetensors", params, about={})
    content = (tmp_path / "weights.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__")
    assert set(header) == set(flat(params)) >= {"embeddings/token/table", "blocks_0/ffn/widen/kernel", "head/output"}
    first, last = header["head/bias"]["data_offsets"]
    stored = np.frombuffer(content[8 + length + first : 8 + length + last], np.float32)
    assert np.array_equal(stored, params["head"]["bias"])


def test_a_digest_is_that_of_numbers_and_names():
    params = {"a": np.ones(3, np.float32), "b": np.zeros(2, np.float32)}
    assert sha256_of(params) == sha256_of(dict(reversed(params.items())))
    others = ({**params, "a": np.array([1, 1, 2], np.float32)}, {"a": params["a"], "c": params["b"]})
    assert len({sha256_of(one) for one in (params, *others)}) == 3


def test_a_digest_is_the_same_for_nested_parameters_and_for_those_by_path(params):
    assert sha256_of(params) == sha256_of(flat(params))


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", None])
def test_what_is_no_such_file_is_refused(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="the weights cannot be read"):
        load_weights(path)
