import types

import jax
import pytest

from lob_jax.models.inputs import fields_read
from lob_jax.training.run import speed
from lob_jax.training.run.speed import blank_batch, matmul_rate, median_seconds, peak_flops


def device(kind):
    return types.SimpleNamespace(device_kind=kind, platform="gpu")


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
    ],
)
def test_known_devices_have_their_own_peak(kind, peak):
    assert peak_flops([device(kind)] * 2, "bfloat16") == (2 * peak, "the published bfloat16 peak")


def test_a_device_not_known_is_measured(monkeypatch):
    monkeypatch.setattr(speed, "matmul_rate", lambda device, dtype: 1e9)
    assert peak_flops(jax.devices(), "float32") == (1e9, "a measured float32 matmul")  # 8 devices that share the cores
    assert peak_flops([device("NVIDIA Z9000")] * 4, "float32")[0] == 4e9


def test_the_matmul_rate_is_that_of_the_fastest(monkeypatch):
    seconds = iter([0.9, 0.5, 0.7])
    monkeypatch.setattr(speed, "MATMUL_SIZE", 8)
    monkeypatch.setattr(speed, "MATMULS", 3)
    monkeypatch.setattr(speed, "median_seconds", lambda function, repeats: next(seconds))
    assert matmul_rate(jax.devices()[0], "bfloat16") == 2 * 8**3 / 0.5


def test_a_long_call_is_timed_once(monkeypatch):
    calls = []
    monkeypatch.setattr(speed, "LONG_S", -1.0)
    median_seconds(lambda: calls.append(0))
    assert len(calls) == 1
    monkeypatch.setattr(speed, "LONG_S", 60.0)
    median_seconds(lambda: calls.append(0), repeats=3)
    assert len(calls) == 4


def test_the_blank_batch_has_the_shapes_of_a_real_one(model_config, windows):
    blank = blank_batch(model_config(), 6)
    real = windows(6)
    assert set(blank) == set(fields_read(model_config()))
    for name in set(blank) - {"example"}:
        assert (blank[name].shape, blank[name].dtype) == ((1, *real[name].shape), real[name].dtype)
