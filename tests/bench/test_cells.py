import dataclasses
import json
import os

import pytest

from lob_jax.bench import cells as module
from lob_jax.bench.cell import GENERATED, RESULT, TESTED, Cell
from lob_jax.bench.cells import run_cells
from lob_jax.errors import InputError
from lob_jax.lock import locked


def cell(folder, variant="plain", seed=0, start=None, **changes):
    return Cell(variant, seed, "tiny", changes, folder / variant / str(seed), folder / "records", start)


def write(one, measured=(TESTED, GENERATED), **changes):
    """Write a result as `run_cell` does."""
    one.folder.mkdir(parents=True, exist_ok=True)
    result = {
        "changes": json.loads(json.dumps({**one.changes, **changes})),
        "measured": {name: {"figures": {}} for name in measured},
        "figures": {},
    }
    (one.folder / RESULT).write_text(json.dumps(result))
    return result


@pytest.fixture
def here(monkeypatch):
    """Run cells in this process."""
    monkeypatch.setattr(module, "alone", lambda function, *arguments: function(*arguments))


class Work:
    """What runs a cell, and remembers which; those in `fails` fail."""

    def __init__(self, fails=()):
        self.ran, self.cores, self.fails = [], [], fails

    def __call__(self, one, core, cache):
        self.ran.append((one.variant, one.seed))
        self.cores.append(core)
        if one.variant in self.fails:
            raise ValueError("it broke\nin two lines")
        return write(one)


def quiet(line):
    pass


def test_what_has_a_result_is_not_run_again(here, tmp_path):
    both, work = [cell(tmp_path, seed=seed, **{"train.steps": 3}) for seed in (0, 1)], Work()
    run_cells(both, tmp_path, jobs=1, say=quiet, work=work)
    assert work.ran == [("plain", 0), ("plain", 1)]
    found = run_cells(both, tmp_path, jobs=1, say=quiet, work=work)
    assert len(work.ran) == 2 and set(found.results) == {("plain", 0), ("plain", 1)}


def test_what_was_interrupted_is_run_again(here, tmp_path):
    one, other = cell(tmp_path), cell(tmp_path, seed=1)
    write(one)
    other.folder.mkdir(parents=True)
    (other.folder / f"{RESULT}.partial").write_text("{")
    work = Work()
    run_cells([one, other], tmp_path, jobs=1, say=quiet, work=work)
    assert work.ran == [("plain", 1)]


def test_what_lacks_a_measurement_is_run_again(here, tmp_path):
    one, work = cell(tmp_path, **{"generate.prompts": 4}), Work()
    write(one, measured=(TESTED,))
    run_cells([one], tmp_path, jobs=1, say=quiet, work=work)
    write(one, **{"generate.prompts": 5})
    run_cells([one], tmp_path, jobs=1, say=quiet, work=work)
    assert len(work.ran) == 2
    run_cells([dataclasses.replace(one, measures=(TESTED,))], tmp_path, jobs=1, say=quiet, work=work)
    assert len(work.ran) == 2


def test_results_of_other_settings_are_refused(here, tmp_path):
    one, work = cell(tmp_path, **{"train.steps": 3, "train.lora_targets": ("*",)}), Work()
    write(one, **{"train.steps": 4})
    with pytest.raises(InputError, match="other settings") as refused:
        run_cells([one], tmp_path, jobs=1, say=quiet, work=work)
    assert (refused.value.expected, refused.value.was) == ("train.steps = 3", "train.steps = 4")
    assert work.ran == []


def test_a_cell_that_fails_is_told_and_the_others_go_on(here, tmp_path):
    work = Work(fails=("warp",))
    three = [cell(tmp_path, "warp"), cell(tmp_path, "plain"), cell(tmp_path, "mirror")]
    found = run_cells(three, tmp_path, jobs=1, say=quiet, work=work)
    assert set(found.results) == {("plain", 0), ("mirror", 0)}
    assert found.failures == {("warp", 0): "ValueError: it broke in two lines"}


def test_a_cell_waits_for_the_run_that_it_starts_from(here, tmp_path):
    source, work = cell(tmp_path, "source"), Work()
    after = cell(tmp_path, "finetuned", start=source.folder)
    run_cells([after, source, cell(tmp_path, "scratch")], tmp_path, jobs=1, say=quiet, work=work)
    assert work.ran.index(("source", 0)) < work.ran.index(("finetuned", 0))


def test_cells_at_the_same_time_have_different_cores(tmp_path, monkeypatch):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    import threading

    together, cores = threading.Barrier(2, timeout=60), []

    def work(one, core, cache):
        together.wait()  # breaks if the other one is not at work
        cores.append(core)
        return write(one)

    monkeypatch.setattr(module, "alone", lambda function, *arguments: function(*arguments))
    run_cells([cell(tmp_path), cell(tmp_path, seed=1)], tmp_path, jobs=2, say=quiet, work=work)
    assert len(set(cores)) == 2


def test_two_drivers_do_not_work_in_one_folder(here, tmp_path):
    with locked(tmp_path / module.LOCK), pytest.raises(InputError, match="another process"):
        run_cells([cell(tmp_path)], tmp_path, jobs=1, say=quiet, work=Work())
