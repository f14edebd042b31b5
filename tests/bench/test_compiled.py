"""What is read in the text of a compiled program: against figures by hand, and for a described H200."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import jax
import jax.numpy as jnp
import pytest

from lob_jax.bench.compiled.__main__ import parsed
from lob_jax.bench.compiled.described import DEVICES, Rates, set_environment
from lob_jax.bench.compiled.estimate import part_of, seconds_of, shares, table, total
from lob_jax.bench.compiled.kernels import in_largest_loop, kernels_of
from lob_jax.bench.compiled.program import Array, read_program, root_of
from lob_jax.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = (pathlib.Path(__file__).parent / "step.hlo.txt").read_text()  # written by hand, as XLA writes programs
RATES = Rates(peak=1e12, halves=1e12, fulls=5e11, attention=1e12, memory=1e9, integers=1e9, kernel_s=1e-9)


@pytest.fixture
def kernels():
    return {one.name: one for one in kernels_of(read_program(PROGRAM))}


def test_kernels_are_what_launches_something(kernels):
    assert list(kernels) == ["gemm", "words", "slice", "updated", "one", "scores", "back"]
    assert [kernels[name].kind for name in ("gemm", "scores", "one")] == ["product", "attention", "elementwise"]
    assert [one.times for one in kernels.values()] == [1, 1, 1, 1, 12, 1, 1]


def test_a_product_has_the_operations_of_its_shapes(kernels):
    gemm = kernels["gemm"]
    assert (gemm.flops, gemm.operand) == (2 * 128 * 64 * 32, "bf16")
    assert (gemm.read, gemm.written) == (2 * (128 * 64 + 64 * 32), 4 * 128 * 32 + 4096)


def test_an_array_that_is_sliced_or_updated_in_place_counts_as_its_slice(kernels):
    assert (kernels["one"].read, kernels["one"].written) == (16 * 4 + 4, 16 * 2)
    assert (kernels["updated"].read, kernels["updated"].written) == (16 * 4 + 4, 16 * 4)
    assert (kernels["slice"].read, kernels["slice"].written) == (16 * 4, 16 * 4)


def test_attention_reads_half_of_the_scores(kernels):
    half = 2 * 4 * 256 * 256 / 2  # batch x heads x T x T / 2
    assert kernels["scores"].flops == 2 * 2 * half * 64  # queries by keys, weights by values
    assert kernels["back"].flops == 5 * 2 * half * 64


def test_a_rotation_is_one_operation_of_integers(kernels):
    assert kernels["words"].integers == 1.5 * 8000 and kernels["gemm"].integers == 0


def test_a_kernel_takes_as_long_as_the_slowest_of_what_it_needs(kernels):
    assert seconds_of(kernels["gemm"], RATES) == pytest.approx((2 * 10240 + 4 * 4096 + 4096) / 1e9)
    assert seconds_of(kernels["gemm"], _with(memory=1e15)) == pytest.approx(2 * 128 * 64 * 32 / 1e12)
    assert seconds_of(kernels["words"], _with(memory=1e15)) == pytest.approx(12e-6)
    assert seconds_of(kernels["one"], _with(memory=1e15)) == 1e-9


def _with(**changes):
    return Rates(**{**RATES.__dict__, **changes})


@pytest.mark.parametrize("given", ["--program=train --paths=2", "--program=generate --batch=3", "--context=8"])
def test_an_option_of_the_other_program_is_refused(given, capsys):
    with pytest.raises(SystemExit):
        parsed(given.split())
    assert "has no effect on --program=" in capsys.readouterr().err


def test_shares_sum_all_runs(kernels):
    parts = shares(kernels.values(), RATES)
    assert parts["product, bf16"].kernels == 1 and parts["elementwise"].kernels == 15
    whole = total(parts.values())
    assert whole.seconds == pytest.approx(sum(one.times * seconds_of(one, RATES) for one in kernels.values()))
    assert [line.split()[0] for line in table(parts)][-1] == "all" and "100.0%" in table(parts)[-1]
    by_part = shares(kernels.values(), RATES, by=part_of)
    assert by_part["in blocks"].kernels == 12 and by_part["embeddings and head"].kernels == 1


def test_a_loop_of_unknown_length_is_counted_once():
    open_ended = PROGRAM.replace(', backend_config={"known_trip_count":{"n":"12"}}', "")
    found = kernels_of(read_program(open_ended))
    assert [one.name for one in in_largest_loop(found)] == ["one"] and found[4].times == 1
    assert in_largest_loop(kernels_of(read_program(PROGRAM))) == []


def test_a_program_of_this_machine_is_read():
    def function(x, y):
        return jnp.tanh(x @ y).sum()

    arguments = jnp.ones((64, 32)), jnp.ones((32, 16))
    program = read_program(jax.jit(function).lower(*arguments).compile().as_text())
    assert root_of(program.computations[program.entry]).results == (Array("f32", ()),)
    assert sum(one.flops for one in kernels_of(program)) == 2 * 64 * 32 * 16
    with pytest.raises(ValueError, match="no entry"):
        read_program("HloModule empty")


def test_the_environment_keeps_what_was_set(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1")
    monkeypatch.setenv("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "")
    before = jax.config.jax_platforms
    try:
        set_environment()
        assert os.environ["XLA_FLAGS"] == "--xla_a=1 --xla_gpu_autotune_level=0" and jax.config.jax_platforms == "cpu"
    finally:
        jax.config.update("jax_platforms", before)


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    """Return a folder with the packages of the extra bench-gpu, where no other test finds them."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    others = [name for name in extras["bench-gpu"] if not name.startswith("lob_jax")]
    names = [f"{name}=={jax.__version__}" if name.startswith("jax-") else name for name in others]
    folder = tmp_path_factory.mktemp("compiler")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *names]
    subprocess.run(install, check=True, timeout=600)
    return folder


def compiled(compiler, *arguments):
    """Return the figures of a program that is compiled in another process."""
    command = [sys.executable, "-m", "lob_jax.bench.compiled", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(compiler), str(ROOT)))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_training_step_for_an_h200_stays_below_its_ceilings(compiler):
    found = compiled(compiler, "--program=train", "--layers=2", "--batch=8", "--accumulation=1")
    assert found["device"] == "NVIDIA H200" and found["tokens"] == 8 * 1024
    assert found["kernels"]["attention"]["kernels"] == 4  # cuDNN's, forward and backward in each layer
    assert found["full_precision_products"] == 0
    assert found["memory_bytes"]["temporary"] / 8 < 150e6  # a window; masks of dropout would be in addition
    assert found["launches"] < 400


@pytest.mark.slow
def test_a_deterministic_step_for_an_h200_adds_rows_up_in_order(compiler, tmp_path):
    ordered = {}
    for name, options in (("usual", ()), ("deterministic", ("--deterministic",))):
        short = ("--layers=1", "--batch=2", "--accumulation=1", f"--save={tmp_path / name}")
        compiled(compiler, "--program=train", *short, *options)
        lines = (tmp_path / name / "train.hlo.txt").read_text().splitlines()
        scatters = [line for line in lines if re.search(r" = f32\[[\d,]+\]\S* scatter\(", line)]
        assert len(scatters) >= 4  # of the tables of tokens, positions, times of day and days
        ordered[name] = ["indices_are_sorted=true" in line for line in scatters]
    assert all(ordered["deterministic"]) and not any(ordered["usual"])


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "paths", "launches"), [(12, 1, 150), (2, 1, 80), (2, 8, 105)])
def test_a_generated_token_on_an_h200_stays_below_its_ceiling(compiler, layers, paths, launches):
    found = compiled(compiler, "--program=generate", f"--layers={layers}", f"--paths={paths}")
    assert found["launches"] <= launches
    assert found["full_precision_products"] <= 1  # of the book's features, in the embedding


def test_without_the_compiler_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(DEVICES, "h200", dataclasses.replace(DEVICES["h200"], packages=("jax", "no_such.module")))
    with pytest.raises(InputError, match=r"no no_such.module\n.*bench-gpu"):
        DEVICES["h200"].devices()
