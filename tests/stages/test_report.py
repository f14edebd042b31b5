"""The stages `report` and `compare`, from the command line to the files that they leave."""

import json
import pathlib

import numpy as np
import pytest

from lob_jax.command_line import parse
from lob_jax.config.validation import validate
from lob_jax.errors import InputError
from lob_jax.report.event_bits import write_event_bits
from lob_jax.stages.report import labels_of
from lob_jax.stages.run import run
from tests.report import sample


def leave(folder, **changes):
    """Write the results of the sample run, without a model, to a folder."""
    contents = {**sample.material().found, **changes}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        lines = name.endswith(".jsonl")
        text = "\n".join(map(json.dumps, content)) if lines else json.dumps(content)
        (folder / name).write_text(text)
    return folder


def run_line(*arguments):
    """Run a command line in this process, as `main` does."""
    command = parse(["main.py", *map(str, arguments)])
    validate(command.config)
    run(command.mode, command.config, workdir=command.workdir)
    return command


@pytest.mark.slow
def test_a_report_is_written_beside_its_results_and_says_what_it_leaves_out(tmp_path, capsys):
    folder = leave(tmp_path / "goog")
    del_config = folder / "config.json"
    del_config.unlink()  # a folder of results alone, as of --mode=score, has none
    run_line("--mode=report", f"--workdir={folder}")
    html, plain = (folder / "report.html").read_text(), json.loads((folder / "report.json").read_text())
    assert plain["title"] == "Report of goog" and "<h1>Report of goog</h1>" in html
    gone = {one["title"]: one["reason"] for one in plain["left_out"]}
    assert gone == {
        "Generated paths": "nothing has been generated; --mode=generate does it",
        "Forecasts from paths": gone["Forecasts from paths"],
        "Fills of resting orders": gone["Fills of resting orders"],
        "Attention": "the run has no checkpoint; --mode=train writes them",
        "Model and configuration": "config.json does not exist; --mode=train writes it",
    }
    printed = capsys.readouterr().out
    assert "left out: Attention" in printed and str(folder / "report.html") in printed


def test_a_folder_without_results_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="nothing to report"):
        run_line("--mode=report", "--config=tiny", f"--workdir={tmp_path}")
    assert not (tmp_path / "report.html").exists()


def test_runs_are_compared_by_their_folders(tmp_path, capsys):
    better = sample.evaluation()
    better["likelihood"]["model"] = sample.metrics(27.0)
    folders = [leave(tmp_path / "a"), leave(tmp_path / "b", **{"evaluation.json": better})]
    noise = np.random.default_rng(0).normal(28, 1, 1200)
    for folder, bits in zip(folders, (noise, noise - 1), strict=True):
        write_event_bits(folder, bits)
    command = run_line("--mode=compare", *folders, f"--workdir={tmp_path / 'out'}")
    assert command.config.compare.runs == tuple(map(str, folders))
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert result["reference"] == "a" and result["differences"]["b"]["how"] == "paired"
    assert result["differences"]["b"]["value"] == pytest.approx(-1, abs=1e-5)
    assert "<h1>Comparison of 2 runs</h1>" in (tmp_path / "out" / "comparison.html").read_text()
    printed = capsys.readouterr().out
    assert "b needs 1.000 bits per event fewer than a" in printed and "Runs" in printed


def test_a_comparison_needs_two_runs_with_results(tmp_path):
    folder = leave(tmp_path / "a")
    for folders in ((), (folder,), (folder, folder)):
        with pytest.raises(InputError, match="nothing to compare"):
            run_line("--mode=compare", *folders, f"--workdir={tmp_path / 'out'}")
    with pytest.raises(InputError, match=r"(?s)without results.*no such folder"):
        run_line("--mode=compare", folder, tmp_path / "nowhere", f"--workdir={tmp_path / 'out'}")


def test_folders_are_arguments_of_compare_alone(tmp_path):
    with pytest.raises(InputError, match="belong to no flag"):
        parse(["main.py", "--config=tiny", "--mode=report", str(tmp_path)])
    assert parse(["main.py", "--mode=compare", "a", "b"]).workdir == pathlib.Path("runs/compare")
    assert parse(["main.py", "--mode=compare", "--config.compare.runs=a,b"]).config.compare.runs == ("a", "b")


def test_runs_have_the_shortest_names_that_tell_them_apart():
    paths = [pathlib.Path(name) for name in ("/x/a/run", "/x/b/run", "/y/b/run")]
    assert labels_of(paths[:1]) == ["run"] and labels_of(paths[:2]) == ["a/run", "b/run"]
    assert labels_of(paths) == ["x/a/run", "x/b/run", "y/b/run"]
