"""A pruned run is an ordinary run of its own, and the one that it comes from stays as it is."""

import dataclasses
import hashlib
import math

import jax
import numpy as np
import pytest

import lob_jax
from lob_jax.config import sections
from lob_jax.errors import InputError
from lob_jax.models.pruning import cut
from lob_jax.runs.pruning import prune
from lob_jax.stages import model as stage
from lob_jax.training.pruning import PruneConfig
from lob_jax.training.run.checkpoint import read_metas

DIVIDED = {"heads": 0.5, "columns": 0.25, "windows": 4}


def digests(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def equal(one, other):
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


@pytest.fixture(scope="module")
def pruned(run, tmp_path_factory):
    """Return the folder of the new run, what was done, and the files of the first run before and after."""
    into, before = tmp_path_factory.mktemp("pruned") / "new", digests(run.workdir)
    done = prune(run, PruneConfig(into=str(into), **DIVIDED))
    return into, done, (before, digests(run.workdir))


@pytest.mark.slow
def test_the_new_run_has_the_rest_of_the_model(run, pruned):
    into, done, _ = pruned
    found = lob_jax.load_run(into)
    assert (found.model.n_heads, found.model.head_size, found.model.d_ff) == (1, 8, 24)
    kept = {name: np.array(units) for name, units in done.kept.items()}
    assert equal(found.params, cut(run.params, kept))
    for name, units in kept.items():
        scores = np.array(done.importance[name])
        gone = np.setdiff1d(np.arange(scores.shape[1]), units[0])
        assert scores[0, units[0]].min() > scores[0, gone].max()
    assert found.step == 0 and done.after.bits_per_token == found.validation_loss / math.log(2)
    assert done.before.bits_per_token * math.log(2) == pytest.approx(run.validation_loss, rel=1e-6)
    assert (done.after.heads, done.after.columns, done.before.heads, done.before.columns) == (1, 24, 2, 32)
    assert done.after.parameters == sum(leaf.size for leaf in jax.tree.leaves(found.params)) < done.before.parameters


@pytest.mark.slow
def test_the_first_run_is_untouched_and_its_records_are_those_of_the_new_one(run, pruned):
    into, _, (before, after) = pruned
    assert before == after
    assert digests(into / "records") == digests(run.workdir / "records")
    assert sections.plain(lob_jax.load_run(into).config)["prune"] == sections.plain(run.config)["prune"]
    assert not [path for path in into.parent.iterdir() if path != into]


@pytest.mark.slow
def test_training_goes_on_from_the_pruned_model(pruned):
    """With a rate of nearly 0, two steps later the model is still the pruned one; it is not a fresh one."""
    into, _, _ = pruned
    run, seen = lob_jax.load_run(into), {}
    config = run.config.copy_and_resolve_references().unlock()
    config.train.update(steps=2, learning_rate=1e-9)
    summary = lob_jax.train(
        config.lock(),
        into,
        on_validation=lambda step, loss, params: seen.update({step: jax.tree.map(np.array, params)}),
    )
    assert list(seen) == [2] and (summary.steps, summary.stopped_early) == (2, False)
    for one, other in zip(jax.tree.leaves(seen[2]), jax.tree.leaves(run.params), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)
    assert read_metas(into / "checkpoints")[2].history[0] == {
        "step": 0,
        "changed": {"model.n_heads": [2, 1], "model.head_size": [0, 8], "model.d_ff": [32, 24]},
    }


@pytest.mark.parametrize("into", ["", "."])
def test_a_folder_that_is_there_is_left_alone(into, run):
    with pytest.raises(InputError, match="a folder that does not exist yet"):
        prune(run, PruneConfig(into=into, **DIVIDED))


def test_a_model_with_counts_is_refused(run, tmp_path):
    counting = dataclasses.replace(run, model=dataclasses.replace(run.model, pointer=True, counts=16))
    with pytest.raises(InputError, match=r"a model with counts(?s:.*)own block"):
        prune(counting, PruneConfig(into=str(tmp_path / "new"), **DIVIDED))


@pytest.mark.slow
def test_the_mode_prunes_and_the_new_run_generates(trained, tmp_path, capsys):
    config = trained.config.copy_and_resolve_references().unlock()
    config.prune.update(into=str(tmp_path / "new"), **DIVIDED)
    stage.prune(config.lock(), trained.workdir)
    shown = capsys.readouterr().out
    assert "heads per block" in shown and f"--workdir={tmp_path / 'new'}" in shown
    run = lob_jax.load_run(tmp_path / "new")
    assert [one.faults for one in lob_jax.check_paths(lob_jax.generate(run))] == [{}] * 3
    assert lob_jax.evaluate(run)["likelihood"]["model"]["events"] > 0
