"""Checkpoints outlive keys that came after them: one that version 0.1.0 wrote is restored and resumed."""

import dataclasses
import io
import json
import pathlib
import tarfile

import jax
import numpy as np
import pytest
import rich.console

from lob_jax import later_keys
from lob_jax.errors import InputError
from lob_jax.later_keys import LaterKey
from lob_jax.models.config import ModelConfig
from lob_jax.training.run import checkpoint
from lob_jax.training.run.checkpoint import UNSETTLED, Checkpoints, read_metas, restore_best
from lob_jax.training.run.digests import seal
from lob_jax.training.run.identity import ROLES, Role, model_identity
from lob_jax.training.run.loop import train


@pytest.fixture
def early(tmp_path):
    """The folder of a run that version 0.1.0 saved at step 8 of 12, before it wrote its own version.

    It is that of `train` with the MODEL, TRAIN and `make_data` of conftest.py, seed 0, on one device of a CPU.
    """
    with tarfile.open(pathlib.Path(__file__).parent / "checkpoint_of_0_1_0.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


@dataclasses.dataclass(frozen=True)
class LaterModel(ModelConfig):
    """A model with a key that came in a later version."""

    gain: float


@pytest.fixture
def later_model(model_config):
    """Return a function: the tiny model with a value of its later key."""
    model = model_config(standardize_book=False)  # as version 0.1.0 had it
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(ModelConfig)}
    return lambda gain: LaterModel(**fields, gain=gain)


@pytest.fixture
def version_2(monkeypatch):
    """The program as a later version, with a table that says what that key's absence means."""
    monkeypatch.setattr(later_keys, "LATER", (*later_keys.LATER, LaterKey("model.gain", 1.0, "0.2.0")))
    monkeypatch.setitem(ROLES, Role.MODEL, (*ROLES[Role.MODEL], "model.gain"))
    for module in (later_keys, checkpoint):
        monkeypatch.setattr(module, "version", lambda: "0.2.0")


def test_a_checkpoint_from_before_a_key_is_restored_where_the_key_has_its_neutral_value(early, later_model, version_2):
    params, about = restore_best(early / "checkpoints", model=later_model(1.0), vocabulary_hash="abc")
    assert (about.step, about.versions["lob_jax"]) == (8, "0.1.0")
    assert "gain" not in about.identity["model"]
    assert params["head"]["bias"].shape == (40,) and np.isfinite(params["head"]["bias"]).all()
    assert np.abs(params["head"]["bias"]).max() > 0  # trained
    with pytest.raises(InputError, match="another run") as caught:
        restore_best(early / "checkpoints", model=later_model(2.0), vocabulary_hash="abc")
    assert (caught.value.expected, caught.value.was) == ("model.gain = 1.0", "model.gain = 2.0")
    assert "--config.model.gain=1.0" in caught.value.remedy


def test_a_key_without_an_entry_in_the_table_is_refused_by_name(early, later_model):
    with pytest.raises(InputError) as caught:
        restore_best(early / "checkpoints", model=later_model(1.0), vocabulary_hash="abc")
    assert (caught.value.expected, caught.value.was) == ("model.gain = 'absent'", "model.gain = 1.0")


@pytest.mark.slow
def test_a_run_from_before_a_key_goes_on_and_says_how_the_key_is_taken(
    early, later_model, version_2, train_config, training_data
):
    shown = io.StringIO()
    summary = train(
        later_model(1.0),
        train_config(),
        training_data(),
        seed=0,
        folder=early,
        settings={},
        devices=jax.devices()[:1],
        console=rich.console.Console(file=shown, width=200),
    )
    told = shown.getvalue()
    assert "resuming from step 8; equal up to rounding only, since lob_jax 0.1.0 is now 0.2.0" in told
    assert "was written by lob_jax 0.1.0, without keys that came later: model." in told
    assert ", model.gain = 1.0 (since 0.2.0), " in told and ", train.task_weights = 'fixed' (since 0.2.0), " in told
    assert summary.steps == 12
    # What version 0.1.0 itself came to, on another machine and other versions of the packages, maybe.
    assert summary.best_validation_loss == pytest.approx(3.47793063869724, abs=1e-3)
    again = read_metas(early / "checkpoints")[12]
    assert (again.identity["model"]["gain"], again.versions["lob_jax"], again.history) == (1.0, "0.2.0", [])


def changed_meta(step, change):
    """Change what a checkpoint says of itself, and seal it again."""
    path = step / "meta" / "metadata"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    seal(step, unsettled=UNSETTLED)


@pytest.mark.parametrize("place", ["identity", "changeable", "rounding"])
def test_a_key_of_a_newer_version_is_refused_with_both_versions(early, model_config, place):
    key = "train.newer" if place != "identity" else "model.newer"
    folder = early / "checkpoints"

    def change(told):
        told["versions"]["lob_jax"] = "9.1"
        (told["identity"]["model"] if place == "identity" else told[place])[key.removeprefix("model.")] = 1

    changed_meta(folder / "8", change)
    words = f"newer version of lob_jax, 9.1; this is {later_keys.version()}"
    with Checkpoints(folder, keep_best=3) as checkpoints, pytest.raises(InputError, match=words) as caught:
        checkpoints.newest_sound({"seed": 0, "model": model_identity(model_config(standardize_book=False))})
    assert (caught.value.was, caught.value.remedy) == (key, "update lob_jax to version 9.1")
    if place == "identity":
        with pytest.raises(InputError, match="newer version"):
            restore_best(folder, model=model_config(standardize_book=False), vocabulary_hash="abc")
    else:  # it decided nothing of what the parameters are
        restore_best(folder, model=model_config(standardize_book=False), vocabulary_hash="abc")


@pytest.mark.parametrize("part", ["checkpoint", "position", "early_stopping"])
def test_a_field_of_a_checkpoint_that_came_later_has_its_neutral_value_and_one_of_a_newer_version_is_refused(
    early, monkeypatch, part
):
    name = "averaged" if part == "checkpoint" else {"position": "windows_a_pass", "early_stopping": "step"}[part]
    place = name if part == "checkpoint" else f"{part}.{name}"
    changed_meta(early / "checkpoints" / "8", lambda told: (told if part == "checkpoint" else told[part]).pop(name))
    with pytest.raises(InputError, match="another version") as caught:
        read_metas(early / "checkpoints")
    assert caught.value.expected.endswith(name)
    monkeypatch.setattr(later_keys, "LATER", (*later_keys.LATER, LaterKey(f"checkpoint.{place}", 7, "0.2.0")))
    meta = dataclasses.asdict(read_metas(early / "checkpoints")[8])
    assert (meta if part == "checkpoint" else meta[part])[name] == 7

    def change(told):
        told["versions"]["lob_jax"] = "9.1"
        (told if part == "checkpoint" else told[part])["newer"] = 1

    changed_meta(early / "checkpoints" / "8", change)
    with pytest.raises(InputError, match=r"newer version of lob_jax, 9\.1"):
        read_metas(early / "checkpoints")
