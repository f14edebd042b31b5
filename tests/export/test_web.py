"""The graphs of a bundle also run in onnxruntime-web, which browsers have: the same tokens as here."""

import json
import pathlib
import shutil
import subprocess

import jax
import numpy as np
import pytest

from lob_jax.config.sections import model_config
from lob_jax.export.decoder import OnnxDecoder
from lob_jax.export.graphs import step_graph
from lob_jax.export.parity import random_inputs
from lob_jax.export.quantize import quantized
from lob_jax.models.transformer import initial_parameters
from lob_jax.runs.load import get_config

WEB = pathlib.Path(__file__).resolve().parents[2] / "docs" / "web"
ROWS, PROMPT, TOKENS = 2, 40, 120  # more tokens than the cache has slots at first
SMALL = {"model.d_model": 32, "model.n_layers": 2, "model.n_heads": 4, "model.d_ff": 64, "model.max_seq_length": 256}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Return a folder where Node finds onnxruntime-web and the scripts."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed (on Debian: apt-get install nodejs npm)")
    folder = tmp_path_factory.mktemp("node")
    for path in WEB.iterdir():
        shutil.copy(path, folder)
    installed = subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"npm could not install onnxruntime-web: {installed.stderr.strip()[-200:]}")
    return folder


def flat(inputs):
    return {name: array.reshape(-1).tolist() for name, array in inputs.items()}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", ["sized:small", "multi_scale:small", "tiny"])
def test_greedy_tokens_are_those_of_onnx_runtime_here(node, name, precision):
    model = model_config(get_config(name, {**SMALL, "model.attention.horizons": ("16 events", "1.5 s", "all", "all")}))
    key = jax.random.key(0)
    params = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(key, leaf.shape), initial_parameters(model, key))
    graph = quantized(step_graph(params, model), precision).SerializeToString()
    (node / "graph.onnx").write_bytes(graph)
    window = random_inputs(model, ROWS, PROMPT + TOKENS)
    prompt = {name: array[:, :PROMPT] for name, array in window.items()}
    beside = [
        {name: array[:, [at]] for name, array in window.items() if name != "tokens"}
        for at in range(PROMPT, PROMPT + TOKENS)
    ]
    decoder, expected = OnnxDecoder(graph, model), []
    decoder.reset(ROWS)
    logits = decoder.extend(prompt)
    for known in beside:
        expected.append(logits.argmax(-1))
        logits = decoder.extend({**known, "tokens": expected[-1][:, None].astype(np.int32)})
    task = {"graph": "graph.onnx", "model": model.to_dict(), "rows": ROWS, "prompt": flat(prompt)}
    (node / "task.json").write_text(json.dumps({**task, "next": [flat(known) for known in beside]}))
    done = subprocess.run(["node", "greedy.mjs", "task.json", "result.json"], cwd=node, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((node / "result.json").read_text()) == np.array(expected).tolist()
    assert len(np.unique(np.array(expected), axis=0)) > 5  # a model that repeats itself would show little
