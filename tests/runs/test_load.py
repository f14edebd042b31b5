"""A trained folder is enough by itself, and configurations come by name."""

import json
import shutil

import jax
import numpy as np
import pytest

import lob_jax
from lob_jax import later_keys
from lob_jax.config.sections import model_config, plain
from lob_jax.configs import multi_scale, tiny
from lob_jax.errors import InputError
from lob_jax.later_keys import LaterKey
from lob_jax.training.run.checkpoint import restore_best


@pytest.fixture
def copied(trained, tmp_path):
    """A function: a copy of the run elsewhere, with other values in its config.json; None leaves a key out."""

    def copy(**changes):
        folder = shutil.copytree(trained.workdir, tmp_path / "moved")
        saved = json.loads((folder / "config.json").read_text())
        for key, value in changes.items():
            section, name = key.split("__")
            saved[section][name] = value
            if value is None:
                del saved[section][name]
        (folder / "config.json").write_text(json.dumps(saved))
        return folder

    return copy


def test_a_run_has_its_configuration_and_the_parameters_of_its_best_checkpoint(trained, run):
    assert run.model == model_config(trained.config) and run.workdir == trained.workdir
    assert plain(run.config) == plain(trained.config) and run.config.is_locked
    assert isinstance(run.config.forecast.horizons, tuple)  # which JSON does not know
    assert (run.step, run.validation_loss) == (trained.summary.best_step, trained.summary.best_validation_loss)
    wanted = {"model": run.model, "vocabulary_hash": run.tokenizer.vocabulary.hash}
    expected, _ = restore_best(trained.workdir / "checkpoints", **wanted)
    jax.tree.map(np.testing.assert_array_equal, run.params, expected)
    assert run.tokenizer.vocabulary.time_digits == 5


def test_loading_a_run_warns_of_nothing(trained, capfd, caplog):
    lob_jax.load_run(str(trained.workdir))
    assert capfd.readouterr() == ("", "") and caplog.records == []


@pytest.mark.slow
def test_a_run_that_was_moved_needs_no_file_of_its_data(copied, run, day):
    moved = lob_jax.load_run(copied(data__path="/nowhere/day.csv", data__feed="lobster"))
    assert moved.config.data.path == "/nowhere/day.csv"
    mine, theirs = ({**one.beside.__dict__, "tokenizer": one.beside.tokenizer.vocabulary} for one in (moved, run))
    assert mine == theirs
    one, other = (lob_jax.score(which, day).log_likelihood for which in (moved, run))
    assert one.tolist() == other.tolist()


def test_a_key_that_came_after_a_run_has_its_neutral_value(copied, monkeypatch):
    monkeypatch.setattr(later_keys, "LATER", (LaterKey("train.clip", 9.0, "0.2.0"),))
    assert lob_jax.load_run(copied(train__clip=None)).config.train.clip == 9.0


def test_a_key_of_a_later_version_is_refused(copied):
    with pytest.raises(InputError, match="another version of lob_jax") as caught:
        lob_jax.load_run(copied(train__steps_of_tomorrow=3))
    assert "train.steps_of_tomorrow" in caught.value.was


@pytest.mark.parametrize("content", ["{", "[1]", None])
def test_a_configuration_that_cannot_be_read_is_refused(copied, content):
    folder = copied()
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(InputError, match="cannot be read"):
        lob_jax.load_run(folder)


def test_a_folder_without_a_trained_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="no trained model yet"):
        lob_jax.load_run(tmp_path)


def test_a_configuration_comes_by_name_by_size_and_by_path():
    assert plain(lob_jax.get_config("tiny")) == plain(tiny.get_config())
    assert plain(lob_jax.get_config("multi_scale:tiny")) == plain(multi_scale.get_config("tiny"))
    assert plain(lob_jax.get_config(tiny.__file__)) == plain(tiny.get_config())


def test_a_configuration_may_be_changed_in_values_alone():
    config = lob_jax.get_config("tiny", {"train.steps": 7, "seed": 3, "evaluate.ngram_orders": [1, 2]})
    assert (config.train.steps, config.seed, config.evaluate.ngram_orders) == (7, 3, (1, 2))
    config.train.steps = 8
    with pytest.raises(AttributeError):
        config.train.stepz = 9
    with pytest.raises(InputError, match="no such key") as caught:
        lob_jax.get_config("tiny", {"train.stepz": 9})
    assert "train.steps" in caught.value.remedy
    with pytest.raises(InputError):
        lob_jax.get_config("tiny", {"train.steps": "many"})
    with pytest.raises(InputError):
        lob_jax.get_config("tiny", {"model.n_heads": 3})
    with pytest.raises(InputError, match="there is no such configuration"):
        lob_jax.get_config("tinny")
