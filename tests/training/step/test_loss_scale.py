import jax.numpy as jnp
import pytest

from lob_jax.training.step import loss_scale
from lob_jax.training.step.loss_scale import FIRST, LARGEST, LossScale, after_step, first_scale


def test_only_float16_is_scaled():
    assert [first_scale(dtype) is None for dtype in ("float16", "bfloat16", "float32", "float64")] == [
        False,
        True,
        True,
        True,
    ]
    assert float(first_scale("float16").scale) == FIRST


def test_the_scale_halves_at_a_fault_and_doubles_after_steady_steps(monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH_STEPS", 3)
    scale, seen = first_scale("float16"), []
    for finite in (False, True, True, False, True, True, True, True):
        scale = after_step(scale, jnp.bool_(finite))
        seen.append((float(scale.scale) / FIRST, int(scale.steady)))
    assert seen == [(0.5, 0), (0.5, 1), (0.5, 2), (0.25, 0), (0.25, 1), (0.25, 2), (0.5, 0), (0.5, 1)]


@pytest.mark.parametrize(("scale", "finite", "expected"), [(1.0, False, 1.0), (LARGEST, True, LARGEST)])
def test_the_scale_stays_within_its_bounds(monkeypatch, scale, finite, expected):
    monkeypatch.setattr(loss_scale, "GROWTH_STEPS", 1)
    after = after_step(LossScale(jnp.float32(scale), jnp.int32(0)), jnp.bool_(finite))
    assert float(after.scale) == expected
