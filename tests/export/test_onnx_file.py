"""The graphs of a bundle name no file outside of it, however deep a tensor is in them."""

import pytest

from lob_jax.export.bundle import open_bundle
from lob_jax.export.onnx_file import _LEADS, DEEPEST, read_facts
from tests.export import sample
from tests.export.sample import refused, reseal


def with_graph(folder, content, name="step.onnx"):
    (folder / name).write_bytes(content)
    reseal(folder)
    return folder


@pytest.mark.parametrize("location", ["../x", "/etc/passwd", "a/../../x", "missing.bin", "a\\b", "", "manifest.json"])
@pytest.mark.parametrize("nested", [0, 2])
def test_a_graph_that_names_a_file_outside_is_refused(folder, location, nested):
    error = refused(with_graph(folder, sample.graph(location, nested=nested)))
    assert error.what == "a graph names a file outside the bundle" and error.where == folder / "step.onnx"
    assert error.was == repr(location)


def test_a_graph_names_files_from_its_own_folder(folder):
    with_graph(folder, sample.graph("forward.bin"), "stablehlo/other.onnx")
    open_bundle(folder)
    assert refused(with_graph(folder, sample.graph("step.onnx"), "stablehlo/other.onnx")).was == "'step.onnx'"


def test_a_graph_of_another_vocabulary_is_refused(folder):
    error = refused(with_graph(folder, sample.graph(vocabulary="0" * 64)))
    assert error.what == "the bundle is of two vocabularies" and "of step.onnx" in error.where
    assert error.was == "0" * 64


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x0b", b"\x3a\xff\x01", b"\xff" * 11, sample.graph(nested=40)])
def test_what_is_no_graph_is_refused(folder, content):
    error = refused(with_graph(folder, content))
    assert error.what == "a graph of the bundle cannot be read" and error.where == folder / "step.onnx"


def test_the_facts_of_a_graph(tmp_path):
    (tmp_path / "a.onnx").write_bytes(sample.graph("b", "a/c", "b", nested=3) + sample.graph("d"))  # which are merged
    external, metadata = read_facts(tmp_path / "a.onnx")
    assert external == ("a/c", "b", "d") and metadata == (("lob_jax.vocabulary", sample.VOCABULARY.hash),) * 2


def test_the_fields_that_lead_to_tensors_are_those_of_onnx():
    """All of them: a field of another message that held a tensor would be followed by ONNX, and not here."""
    onnx = pytest.importorskip("onnx")
    messages, waiting = {}, [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name not in messages:
            inner = {f.number: f.message_type for f in message.fields if f.message_type is not None}
            messages[message.name] = {number: of.name for number, of in inner.items()}
            waiting += inner.values()
    leading = {"TensorProto"}
    while True:
        more = {name for name, inner in messages.items() if leading & set(inner.values())}
        if more <= leading:
            break
        leading |= more
    assert leading == _LEADS.keys() - {"StringStringEntryProto"}
    texts = {("ModelProto", 14), ("TensorProto", 13)}
    for name in leading:
        wanted = {n: of for n, of in messages[name].items() if of in leading or (name, n) in texts}
        assert wanted == _LEADS[name], name
    tensor, model = onnx.TensorProto.DESCRIPTOR.fields_by_name, onnx.ModelProto.DESCRIPTOR.fields_by_name
    assert (tensor["external_data"].number, model["metadata_props"].number) == (13, 14)


def test_a_graph_that_onnx_has_written_is_read(tmp_path):
    onnx, numpy_helper = pytest.importorskip("onnx"), pytest.importorskip("onnx.numpy_helper")
    import numpy as np

    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 64]) for name in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weight]))
    onnx.helper.set_model_props(model, {"lob_jax.vocabulary": "ab"})
    onnx.save(model, tmp_path / "inside.onnx")
    assert read_facts(tmp_path / "inside.onnx") == ((), (("lob_jax.vocabulary", "ab"),))
    onnx.save(model, tmp_path / "out.onnx", save_as_external_data=True, location="out.bin", size_threshold=0)
    assert read_facts(tmp_path / "out.onnx").external == ("out.bin",)
    assert DEEPEST > 10
