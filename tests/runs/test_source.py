"""A run that starts from another one: a model of one simulated symbol is trained further on another."""

import json
import shutil

import jax
import numpy as np
import pytest

import lob_jax
from lob_jax.data.records.builder import VOCABULARY
from lob_jax.errors import InputError
from lob_jax.runs.beside import beside_of
from lob_jax.runs.bundle import bundle_parts
from lob_jax.runs.records import has_tokenizer_to_fit, tokenizer_of
from lob_jax.runs.source import check_source
from lob_jax.runs.training import moments
from lob_jax.stages import model as stage
from lob_jax.stages.probe import find_lr
from lob_jax.tokens.compact import CompactTokenizer
from lob_jax.training.run.checkpoint import read_metas
from lob_jax.training.run.weights import sha256_of
from lob_jax.training.step.paths import by_path, matching
from tests.runs.conftest import SMALL
from tests.tokens.test_compact import BINS

LORA = {
    "seed": 1,
    "data.symbols": "BBB",
    "train.learning_rate": 1e-2,
    "train.lora_rank": 2,
    "train.lora_also": ("head/bias",),
    "train.ema_decay": 0.5,
}


COMPACT = {
    "tokens.kind": "compact",
    "tokens.time_digits": None,
    "data.embargo_events": 70,
    "model.queue_state": False,
    "model.pointer": False,
    "train.init_allow": ("*",),
}


class Stop(Exception):
    """Ends a run from outside."""


def config_of(source, **changes):
    return lob_jax.get_config("tiny", {**SMALL, "train.init": str(source), **LORA, **changes})


@pytest.fixture(scope="module")
def source(trained, tmp_path_factory):
    """Return a copy of the run's folder, which may be taken away."""
    folder = tmp_path_factory.mktemp("source") / "run"
    shutil.copytree(trained.workdir, folder)
    return folder


@pytest.fixture(scope="module")
def tuned(source, tmp_path_factory):
    """Return the folder of a run from end to end, what it showed, and its parameters at each validation."""
    folder, seen = tmp_path_factory.mktemp("tuned") / "run", {}

    def keep(step, loss, params):
        seen[step] = jax.tree.map(np.array, params)

    lob_jax.train(config_of(source), folder, on_validation=keep)
    return folder, seen


@pytest.mark.slow
def test_it_has_the_parameters_of_the_other_but_for_what_is_trained(run, tuned):
    """What is measured on data is that of the new symbol."""
    folder, seen = tuned
    new = lob_jax.load_run(folder)
    before, after = by_path(run.params), by_path(new.params)
    assert jax.tree.all(jax.tree.map(np.array_equal, new.params, seen[new.step]))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    measured = matching(["embeddings/*_mean", "embeddings/*_deviation"], before)
    assert changed == measured | matching(["*/qkv/kernel", "*/output/kernel", "*/ffn/*/kernel", "head/bias"], before)
    for name, of in moments(new.config, folder, beside_of(new.config, folder)).items():
        for row, part in zip(of, ("mean", "deviation"), strict=True):
            np.testing.assert_array_equal(after[f"embeddings/{name}_{part}"], row)
            assert not np.array_equal(before[f"embeddings/{name}_{part}"], row)


@pytest.mark.slow
def test_the_source_is_kept_in_checkpoints_and_in_a_file(run, source, tuned):
    folder, _ = tuned
    kept = json.loads((folder / "init.json").read_text())
    assert [meta.source for meta in read_metas(folder / "checkpoints").values()] == [kept] * 2
    assert (kept["folder"], kept["step"], kept["parameters"]) == (str(source), run.step, sha256_of(run.params))
    assert kept["differences"] == {} and kept["settings"] == {} and kept["source"] is None
    assert json.loads((folder / "config.json").read_text())["train"]["init"] == str(source)


@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit_without_its_source(source, tuned, tmp_path):
    _, seen = tuned

    def stop(step, loss, params):
        raise Stop

    with pytest.raises(Stop):
        lob_jax.train(config_of(source), tmp_path / "run", on_validation=stop)
    gone, last = source.rename(tmp_path / "elsewhere"), {}
    try:
        summary = lob_jax.train(
            config_of(source),
            tmp_path / "run",
            on_validation=lambda step, loss, params: last.update({step: jax.tree.map(np.array, params)}),
        )
        with pytest.raises(InputError, match="the checkpoint is of another run") as error:
            lob_jax.train(config_of(gone), tmp_path / "run")
    finally:
        gone.rename(source)
    assert summary.steps == 4 and list(last) == [4]
    metas = read_metas(tmp_path / "run" / "checkpoints")
    assert metas[2].source == metas[4].source is not None
    assert jax.tree.all(jax.tree.map(np.array_equal, last[4], seen[4]))
    assert error.value.was.startswith("train.init = ")


@pytest.mark.slow
def test_the_stage_tells_how_much_is_trained_and_tests_the_new_run(run, source, tmp_path, capsys):
    """Without LoRA: every parameter moves but those that are frozen, and higher layers move more."""
    changes = {"train.lora_rank": 0, "train.lora_also": (), "train.ema_decay": None, "train.frozen": ("head/*",)}
    config = config_of(source, **changes, **{"train.layer_decay": 0.1, "train.optimizer": "adamw"})
    assert stage.train(config, tmp_path) is None
    shown = capsys.readouterr().out
    assert "numbers trained; losses are in nats per token" in shown and "starts from the best parameters of" in shown
    assert json.loads((tmp_path / "evaluation.json").read_text())["likelihood"]["model"]["events"] > 0
    before, after = by_path(run.params), by_path(lob_jax.load_run(tmp_path).params)
    still = {name for name in before if np.array_equal(before[name], after[name])}
    assert still == matching(["head/*"], before)
    moves = [float(np.abs(after[n] - before[n]).max()) for n in ("embeddings/token/table", "blocks_0/ffn/widen/kernel")]
    assert moves[0] < 0.2 * moves[1]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"train.init": "/nowhere"}, "which has no checkpoints"),
        ({"tokens.time_digits": 2}, "mean other things"),
        (COMPACT, "the tokens of the run to start from are of another kind"),
        ({"model.d_ff": 24}, "the model differs from that of the run to start from"),
        ({"model.max_seq_length": 32, "train.init_allow": ("nothing/*",)}, "a pattern matches no parameter"),
    ],
)
def test_a_source_that_does_not_fit_is_refused_before_data_are_read(source, tmp_path, changes, what):
    with pytest.raises(InputError, match=what) as error:
        lob_jax.train(config_of(source, **changes), tmp_path / "run")
    assert error.value.remedy and not (tmp_path / "run" / "records").exists()


def test_fields_of_the_vocabulary_that_differ_are_told(source, tmp_path):
    with pytest.raises(InputError) as error:
        check_source(config_of(source, **{"tokens.time_digits": 2}), tmp_path)
    assert (error.value.expected, error.value.was) == ("time_digits = 5", "time_digits = 2")


def test_a_run_does_not_start_from_itself(source):
    config = config_of(source)
    shutil.move(source / "checkpoints", source / "saved")
    with pytest.raises(InputError, match="no checkpoints"):
        check_source(config, source)
    shutil.move(source / "saved", source / "checkpoints")


def test_fitted_tokens_are_those_of_the_source(tmp_path):
    """Those fitted to other events would mean other things."""
    theirs = CompactTokenizer(BINS).vocabulary
    (tmp_path / "source" / "records").mkdir(parents=True)
    theirs.save(tmp_path / "source" / "records" / VOCABULARY)
    config = config_of(tmp_path / "source", **COMPACT)
    assert not has_tokenizer_to_fit(config, tmp_path / "run")
    assert tokenizer_of(config, tmp_path / "run").vocabulary == theirs
    assert has_tokenizer_to_fit(lob_jax.get_config("tiny", SMALL | {**COMPACT, "train.init_allow": ()}), tmp_path)


def test_modes_that_start_at_random_say_so(source, tmp_path):
    with pytest.raises(InputError, match="this mode starts from random parameters"):
        find_lr(config_of(source), tmp_path / "run")


@pytest.mark.slow
def test_the_card_of_its_bundle_names_the_source(run, tuned):
    """By its parameters, not by its folder, which is of this machine."""
    card = bundle_parts(lob_jax.load_run(tuned[0])).card
    kept = {"step": run.step, "parameters": sha256_of(run.params), "days": card["training"]["source"]["days"]}
    assert card["training"]["source"] == kept and len(kept["days"]) == 1
    assert "source" not in bundle_parts(run).card["training"]
