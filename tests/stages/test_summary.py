"""What a configuration's model is, as printed: its numbers are those of the model."""

import io

import pytest
from rich.console import Console

from lob_jax import console
from lob_jax.config import sections
from lob_jax.configs import base, block_sparse, performer, tiny
from lob_jax.models.accounting import parameter_count
from lob_jax.stages import summary as stage


@pytest.fixture
def printed(monkeypatch, tmp_path):
    """Return a function: what a configuration's summary prints on a terminal of 80 columns."""

    def of(config):
        out = io.StringIO()
        monkeypatch.setattr(console, "console", Console(file=out, width=80))
        stage.summary(config, tmp_path)
        assert not list(tmp_path.iterdir())
        return out.getvalue()

    return of


@pytest.mark.parametrize("scan_layers", [False, True])
def test_every_parameter_is_in_the_table_once(printed, scan_layers):
    config = tiny.get_config()
    config.model.scan_layers = scan_layers
    text = printed(config)
    rows = [line.split() for line in text.splitlines() if line.startswith("    ") and line.strip()]
    counts = [int(row[-1].replace(",", "")) for row in rows if row[-1].replace(",", "").isdigit()]
    assert sum(counts) == parameter_count(sections.model_config(config)) == 995_491
    assert "vocab 10000 x embed 64" in text
    assert "blocks x 3" in text


@pytest.mark.slow
def test_a_token_of_lob_base_costs_what_the_formula_says(printed):
    text = printed(base.get_config())
    multiplied = 85_659_664 + 10_000 * 768  # outside lookup tables, and the tied projection
    assert f"{6 * multiplied + 12 * 12 * 768 * 1024:.3e}" in text
    assert f"{2 * 12 * 768 * 2 / 1024:.1f} KiB" in text  # a key and a value a layer, in bfloat16


@pytest.mark.slow
def test_kinds_without_a_cache_have_none(printed):
    assert "cache" not in printed(performer.get_config("tiny"))
    assert "cache" in printed(block_sparse.get_config("tiny"))
