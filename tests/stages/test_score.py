"""The stage of scores: what it reads, prints and writes, without a model."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from lob_jax.command_line import parse
from lob_jax.config.validation import validate
from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.folders import write_folders
from lob_jax.feeds.load import load_incremental_data
from lob_jax.stages.run import run
from lob_jax.stages.score import remarks
from lob_jax.statistics.flow import disjoint_spans, flow_of_spans

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASELINE = "--config.score.baselines=block_bootstrap"


def parsed(*arguments):
    return parse(["lob_jax/main.py", "--mode=score", *arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    flow = flow_of_spans(load_incremental_data(events=1500, seed=3), disjoint_spans(1200, length=100), levels=3)
    folder = tmp_path_factory.mktemp("flows")
    write_folders(folder, flow.select(range(6)), generated=flow.select(range(6, 12)))
    return folder


@pytest.mark.slow
def test_a_generator_is_scored_from_its_folder_alone(folder, tmp_path, capsys):
    given = (f"--config.score.real={folder}", f"--config.score.generated=mine={folder}", "--config.score.splits=4")
    command = parsed(
        *given,
        "--config.score.resamples=4",
        f"--config.score.training={folder}",
        BASELINE,
        f"--workdir={tmp_path / 'new'}",
    )
    validate(command.config)
    assert run("score", command.config, workdir=command.workdir) is None
    result = json.loads((tmp_path / "new" / "score.json").read_text())
    assert result["read"]["mine"]["sequences"] == 6 and result["flows"]["real"]["sequences"] == 6
    spread = result["scores"]["spread"]["models"]["mine"]["l1"]
    assert 0 < spread["half"] < 1 and 0 < spread["floor"] < 1
    assert result["summary"]["lob_bench"]["mine"]["l1"]["scores"] > 10
    assert result["measures"]["summary"]["mine"]["figures"] > 10
    assert list(result["flows"]) == ["real", "mine", "block_bootstrap", "training"]
    copy = result["scores"]["spread"]["models"]["training"]["l1"]
    assert copy["value"] == 0 < result["scores"]["spread"]["models"]["block_bootstrap"]["l1"]["value"]
    printed = capsys.readouterr().out
    assert "mine" in printed and "LOB-Bench scores" in printed and "mine: L1 by score" in printed
    assert "Measures of mine" in printed and f"written to {tmp_path / 'new' / 'score.json'}" in printed
    assert f"{result['summary']['lob_bench']['mine']['l1']['ratio']:.2f}" in printed


def test_no_configuration_is_needed():
    command = parsed("--config.score.generated=a,b=c")
    assert command.config.score.generated == ("a", "b=c") and str(command.workdir) == "runs/score"
    with pytest.raises(InputError, match="no configuration is given"):
        parse(["lob_jax/main.py", "--mode=train"])


def test_real_sequences_have_to_be_named(tmp_path):
    with pytest.raises(InputError, match="no real sequences are named"):
        run("score", parsed("--config.score.generated=a").config, workdir=tmp_path)


@pytest.mark.parametrize(
    "wrong",
    ["events=0", "splits=0", "resamples=1", "levels=-1", "block=0", "tick=x", "seed=-1", "baselines=x", "networks=x"],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="config.score"):
        validate(parsed(f"--config.score.{wrong}").config)


def test_baselines_need_training_flow():
    with pytest.raises(InputError, match="config.score.training"):
        validate(parsed("--config.score.baselines=zero_order").config)


def test_what_is_irregular_is_said():
    report = {
        "real": {"sequences": 5, "crossed_books": 0},
        "one": {"sequences": 5, "real_continued": 3, "crossed_books": 1200, "times_backwards": 2},
        "two": {"sequences": 5, "real_continued": 5, "crossed_books": 0},
    }
    assert remarks(report) == [
        "one: 2 times before the previous one, 1,200 crossed books",
        "one: no continuation of 2 of the real sequences",
    ]


@pytest.mark.slow
def test_the_command_of_the_docs_scores_two_generators(folder, tmp_path):
    text = (ROOT / "docs" / "evaluation.md").read_text()
    (found,) = re.findall(r"^python (-m lob_jax.main --mode=score .*)$", text, re.MULTILINE)
    (tmp_path / "flows").symlink_to(folder)
    (tmp_path / "elsewhere").symlink_to(folder)
    command = [sys.executable, *shlex.split(found), "--config.score.splits=2", "--config.score.resamples=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "runs" / "score" / "score.json").read_text())
    assert set(result["read"]) == {"real", "flows", "other"} and "other: L1 by score" in done.stdout
    bad = next((folder / "data_gen").glob("*message*"))
    copy = tmp_path / "bad" / "data_gen"
    copy.mkdir(parents=True)
    for file in (bad, bad.with_name(bad.name.replace("message", "orderbook"))):
        (copy / file.name).write_text("".join(file.read_text().splitlines(keepends=True)[: 5 if file != bad else 6]))
    refused = [*command[:-2], f"--config.score.generated={copy}"]
    done = subprocess.run(refused, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "differ in number" in done.stderr and ", line 6" in done.stderr
