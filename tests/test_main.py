"""The command line from outside: the whole road on a tiny day, a kill in the middle, and bad input."""

import dataclasses
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

import lob_jax
from lob_jax.book.replay import find_corrections, replay
from lob_jax.errors import InputError
from lob_jax.feeds.lobster.feed import LobsterFeed
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.main import checked
from lob_jax.signals import EXIT_RESUMABLE
from lob_jax.training.run.weights import load_weights
from lob_jax.writers.lobster import write_lobster

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMALL = (
    "data.synthetic_days=1 data.synthetic_events=5000 data.record_events=256 data.embargo_events=40 data.book_levels=3 "
    "model.d_model=16 model.n_layers=1 model.n_heads=2 model.d_ff=32 model.max_seq_length=64 train.batch_size=8 "
    "train.warmup_steps=2 train.learning_rate=0.01 train.validate_every=4 train.log_every=1 train.steps=12 "
    "train.validation_windows=16 evaluate.direction_events=50 generate.events=20 generate.prompt_events=10"
).split()


def command(*arguments: str, config: str = "tiny") -> list[str]:
    return [sys.executable, "-m", "lob_jax.main", f"--config=configs/{config}.py", *arguments]


def small(*arguments: str) -> list[str]:
    return command(*(f"--config.{setting}" for setting in SMALL), *arguments)


@pytest.fixture(scope="module")
def environment(compiled_folder, one_device):
    """One CPU device, and a compilation cache that all commands share."""
    return one_device(compiled_folder)


def call(arguments, environment, *, cwd: pathlib.Path = ROOT) -> subprocess.CompletedProcess:
    environment = {**environment, "PYTHONPATH": str(ROOT)}
    return subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def run(tmp_path_factory, environment):
    """A run never killed: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    done = call(small(f"--workdir={folder}"), environment)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def metrics(folder: pathlib.Path) -> list[dict]:
    """Return the lines of metrics.jsonl without what a clock measured."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "speed"} for line in lines]


@pytest.mark.slow
def test_training_leaves_what_the_readme_says(run):
    folder, printed = run
    names = {path.name for path in folder.iterdir()}
    assert {"records", "config.json", "ingest_report.json", "checkpoints", "metrics.jsonl", "tensorboard"} <= names
    result = json.loads((folder / "evaluation.json").read_text())
    assert set(result["likelihood"]) == {"model", "model_grammar", "zero_order", "ngram", "book_counts"}
    assert "bits per event" in printed and "best validation loss" in printed
    assert "feed: synthetic, since no --config.data.path is given" in printed
    assert "compiling the training step, usually" in printed and "fitting the baselines, usually" in printed
    assert f"written to {folder / 'evaluation.json'}\n" in printed and "\n\n" not in printed
    losses = [line["validation_loss"] for line in metrics(folder) if "validation_loss" in line]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_generation_writes_days_that_the_reader_takes(run, environment):
    folder, _ = run
    done = call(small("--mode=generate", "--config.generate.paths=32", f"--workdir={folder}"), environment)
    assert done.returncode == 0, done.stderr
    assert f"32 paths of 20 events on {min(2, os.cpu_count())} device" in done.stdout  # a core is one
    assert "0 of 640 events invalid" in done.stdout
    assert "at the end of 32 of 32 paths" in done.stdout
    result = folder / "generated" / "001"
    assert f"written to {result};" in done.stdout and re.search(r"┃ +5% ┃", done.stdout)
    paths = list(result.glob("path_*"))
    assert {path.name for path in paths} == {f"path_{number}" for number in range(32)}
    assert json.loads((result / "forecast.json").read_text())["moment"][-1] == 20
    settings = json.loads((result / "settings.json").read_text())
    assert (settings["paths"], settings["seed"], settings["step"]) == (32, 0, 12)
    feed = LobsterFeed()
    written = [message for path in paths for message in path.glob("*_message_*.csv")]
    assert written
    for message in written:
        assert 0 < len(feed.read(message).events) <= 20
    before = {path: path.read_bytes() for path in result.rglob("*") if path.is_file()}
    again = ("--mode=generate", "--config.generate.paths=2", f"--workdir={folder}")
    order = "--config.generate.orders=buy 7 @ market after 3"
    done = call(small(*again, "--config.generate.name=few", order), environment)
    assert done.returncode == 0, done.stderr
    became = json.loads((folder / "generated" / "few" / "orders.json").read_text())
    assert [sum(fill["size"] for fill in one["fills"]) for (one,) in became["paths"]] == [7, 7]
    assert "buy 7 @ market after 3" in done.stdout
    assert "no quantiles: a 5 % quantile needs 20 paths" in done.stdout
    assert re.search(r"┃ +5% ┃", done.stdout) is None and re.search(r"┃ +lowest ┃ +mean ┃ +highest ┃", done.stdout)
    taken = refused(small(*again, "--config.generate.name=few"), environment)
    assert "there already is a result with this name" in taken
    assert sorted(path.name for path in (folder / "generated").iterdir()) == ["001", "few"]
    assert {path: path.read_bytes() for path in result.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(run, environment, tmp_path):
    """The same command after kill -9: every line of metrics equal, bit for bit."""
    undisturbed, _ = run
    killed = subprocess.Popen(
        small(f"--workdir={tmp_path}"), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 240
    while not (tmp_path / "metrics.jsonl").exists() or len(metrics(tmp_path)) < 7:
        assert killed.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "evaluation.json").exists()
    done = call(small(f"--workdir={tmp_path}"), environment)
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path) == metrics(undisturbed)
    first, second = (json.loads((folder / "evaluation.json").read_text()) for folder in (tmp_path, undisturbed))
    assert first == second


@pytest.mark.slow
def test_a_run_told_to_end_says_that_it_can_be_gone_on_with_and_every_option_leaves_its_file(environment, tmp_path):
    """SIGTERM in the middle, exit status 75, the same command again; then the weights."""
    options = "optimizer=muon ema_decay=0.9 loss_block=16 sample_events=5 profile_step=2 profile_steps=1".split()
    arguments = small(f"--workdir={tmp_path}", *(f"--config.train.{option}" for option in options))
    told = subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 240
    while not (tmp_path / "metrics.jsonl").exists() or len(metrics(tmp_path)) < 3:
        assert told.poll() is None and time.monotonic() < deadline, "the run ended before it could be told to"
        time.sleep(0.02)
    told.terminate()
    printed, _ = told.communicate()
    assert told.returncode == EXIT_RESUMABLE, printed
    assert "SIGTERM: saving within 30 s, then exiting; repeat it to exit at once\n" in printed
    goes_on = "because it received SIGTERM; the same command resumes from there: python -m lob_jax.main --config="
    assert goes_on in printed
    assert not (tmp_path / "evaluation.json").exists()
    done = call(arguments, environment)
    assert done.returncode == 0, done.stderr
    assert "resuming from step" in done.stdout and "averaged parameters" in done.stdout
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [sample["step"] for sample in samples] == [4, 8, 12]
    assert all(sample["events"] == 5 and sample["book_mass"] < 1 for sample in samples)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    done = call(small(f"--workdir={tmp_path}", "--mode=export", "--config.train.ema_decay=0.9"), environment)
    assert done.returncode == 0, done.stderr
    weights, about = load_weights(tmp_path / "bundle" / "weights.safetensors")
    assert set(weights) == {"embeddings", "blocks_0", "norm", "head"}
    assert about["step"] == 12 and about["averaged"]
    assert {"forward.onnx", "step.onnx", "step_int8.onnx"} <= {path.name for path in (tmp_path / "bundle").iterdir()}


def listens(process: subprocess.Popen) -> bool:
    """Return whether a process has got as far as to have a handler of its own for SIGTERM."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def signalled(arguments, environment, output, number, moment) -> tuple[int, str]:
    """Signal a command at a moment: once it is true of (process, what it printed); return its status and all it said.

    The whole group gets the signal, as from a terminal or a batch system, worker processes included.
    """
    with output.open("wb") as file:
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        deadline = time.monotonic() + 240
        while not moment(process, output.read_text()):
            assert process.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.01)
        os.killpg(process.pid, number)
        process.wait(timeout=120)
    return process.returncode, output.read_text()


# What an installation makes of [project.scripts] in pyproject.toml.
SCRIPT = "import sys\nfrom lob_jax.program import run\nif __name__ == '__main__':\n    sys.exit(run())\n"


@pytest.mark.parametrize("by_script", [False, True], ids=["module", "script"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, EXIT_RESUMABLE)])
def test_a_signal_while_the_program_is_imported_ends_it_without_a_trace(
    environment, tmp_path, number, status, by_script
):
    arguments = command("--mode=inspect", f"--workdir={tmp_path / 'run'}")
    if by_script:
        (tmp_path / "lob-jax").write_text(SCRIPT)
        arguments = [sys.executable, str(tmp_path / "lob-jax"), *arguments[3:]]
        environment = {**environment, "PYTHONPATH": str(ROOT)}
    code, said = signalled(arguments, environment, tmp_path / "said", number, lambda process, _: listens(process))
    assert code == status, said
    acknowledged, ended = said.splitlines()
    assert acknowledged.endswith(": exiting; repeat it to exit at once")
    assert ended.startswith("stopped by ") and ended.endswith(shlex.join(arguments[1:]))


def test_the_script_listens_before_all_that_takes_time_to_import(environment):
    code = """
import sys
import lob_jax.signals
slow = {"absl", "numpy", "rich", "ml_collections", "lob_jax.main"}
lob_jax.signals.listen = lambda: print(sorted(slow & set(sys.modules)))
sys.argv = ["lob-jax", "--version"]
from lob_jax.program import run
run()
"""
    done = call([sys.executable, "-c", code], environment)
    assert done.stdout == f"[]\nlob_jax {lob_jax.__version__}\n", done.stderr


PRINTED = '"""The complete configuration'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "first", "note"),
    [
        ("--mode=configs", f" {min(path.stem for path in (ROOT / 'configs').glob('*.py'))}[:SIZE] ", ""),
        ("--config=multi_scale:tiny --mode=show_config", PRINTED, ""),
        ("--config=configs/tiny.py --mode=show_config", PRINTED, "using the bundled configuration tiny"),
        ("--help", "usage: python -m lob_jax.main --config=", ""),
    ],
)
def test_what_shows_configurations_writes_nothing_and_prints_no_more(environment, tmp_path, arguments, first, note):
    done = call([*command()[:3], *arguments.split(), "--workdir=runs/x"], environment, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(first)
    assert note in done.stderr and len(done.stderr.splitlines()) == bool(note)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_trained_folder_is_enough_by_itself(run, environment, tmp_path):
    """Nothing else is named, in a folder elsewhere; what is given beside it is taken, and said."""
    folder, _ = run
    first, alone = json.loads((folder / "evaluation.json").read_text()), [*command()[:3], f"--workdir={folder}"]
    for mode in ("evaluate", "export", "show_config"):
        done = call([*alone, f"--mode={mode}"], environment, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, f"configuration: {folder / 'config.json'}\n")
    assert json.loads((folder / "evaluation.json").read_text()) == first
    (tmp_path / "mine.py").write_text(done.stdout)
    more = ["--config.generate.paths=3", "--config.generate.name=alone"]
    done = call([*alone, "--mode=generate", *more], environment, cwd=tmp_path)
    told = "changed here: generate.name '' -> 'alone', generate.paths 2 -> 3"
    assert (done.returncode, done.stderr) == (0, f"configuration: {folder / 'config.json'}; {told}\n")
    assert len(list((folder / "generated" / "alone").glob("path_*"))) == 3
    done = call([*alone, "--config=./mine.py", "--mode=evaluate"], environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


STAGES = {
    "preparing": ([], lambda folder, said: (folder / "records.partial").exists()),
    "compiling": ([], lambda folder, said: "training windows" in said),
    "training": ([], lambda folder, said: (folder / "metrics.jsonl").exists() and len(metrics(folder)) > 5),
    "testing": ([], lambda folder, said: "best validation loss" in said),
    "generating": (["--mode=generate"], lambda folder, said: "paths of" in said),
}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_stage_in_order_and_the_same_command_goes_on(environment, tmp_path, number):
    """With two processes that prepare and two that read windows, which get the signal too."""
    folder, name = tmp_path / "run", {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[number]
    days = ["data.synthetic_days=2", "data.workers=2", "data.processes=2"]
    arguments = small(f"--workdir={folder}", *(f"--config.{day}" for day in days))
    for stage, (more, reached) in STAGES.items():
        code, said = signalled(
            [*arguments, *more],
            environment,
            tmp_path / stage,
            number,
            lambda _, said, reached=reached: reached(folder, said),
        )
        assert code == (130 if number == signal.SIGINT else EXIT_RESUMABLE), (stage, said)
        assert "Traceback" not in said and "error" not in said, (stage, said)
        assert f"{name}: {'saving' if stage == 'training' else 'exiting'}" in said, (stage, said)
        assert shlex.join([*arguments[1:], *more]) in said.splitlines()[-1], (stage, said)
    assert call([*arguments, *STAGES["generating"][0]], environment).returncode == 0


@pytest.mark.slow
def test_the_readmes_commands_run_on_a_lobster_day(environment, tmp_path):
    """As they stand there, but for the day, the folder and small settings; compiled as a user's are."""
    environment = {**environment, "XLA_FLAGS": ""}
    day = SyntheticFeed(1, 4000, 0).read("2024-01-02")
    shown = replay(day, levels=10)  # what a ten-level file shows
    window = dataclasses.replace(day.start, window=10)
    corrections = find_corrections(day.events, start=window, price=shown.price[1:], size=shown.size[1:])
    assert len(corrections) > 0
    day = dataclasses.replace(day, start=window, corrections=corrections)
    message = write_lobster(tmp_path, day, levels=10).message
    pages = "".join((ROOT / page).read_text() for page in ("README.md", "docs/data.md", "docs/models.md"))
    told = list(dict.fromkeys(re.findall(r"^python (-m lob_jax\.main .*)$", pages, re.MULTILINE)))
    told = [line for line in told if "fi2010" not in line]  # tests/stages/test_forecast.py runs it on its own format
    served = [line for line in told if "runs/demo" in line]  # tests/runs/test_served.py runs those
    assert len(served) == 2 and all(line in (ROOT / "docs" / "serving.md").read_text() for line in served)
    told = [line for line in told if line not in served]
    assert len(told) == 8
    for line in told:
        heads = ["--config.model.n_heads=4"] if "multi_scale" in line else []  # of four horizons
        line = re.sub(r"--config\.data\.path=\S+", f"--config.data.path={message}", line)
        line = line.replace("--workdir=", f"--workdir={tmp_path}/")
        settings = [*(f"--config.{setting}" for setting in SMALL), *heads]
        done = call([sys.executable, *line.split(), *settings], environment)
        assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "runs" / "goog" / "ingest_report.json").read_text())
    assert report[0]["feed"] == "lobster" and report[0]["rows_kept"] == len(day.events)
    assert list((tmp_path / "runs" / "goog" / "generated" / "001").glob("path_*/SYN_2024-01-02_*_message_3.csv"))
    assert (
        len(list((tmp_path / "runs" / "multi_scale" / "generated" / "001").glob("path_*/events/events.parquet"))) == 32
    )
    look = tmp_path / "runs" / "look"
    assert sorted(path.suffix for path in (look / "figures").iterdir()) == [".png", ".png"]
    assert json.loads((look / "inspection.json").read_text())[0]["kinds"] and list((look / "converted").glob("*.npz"))
    assert (tmp_path / "runs" / "many" / "records" / "records.json").exists()
    message.unlink()  # the records of a run are enough to generate
    done = call([*command()[:3], f"--workdir={tmp_path / 'runs' / 'goog'}", "--mode=generate"], environment)
    assert done.returncode == 0 and f"the data at {message} no longer exist" in done.stderr, done.stderr


def refused(arguments, environment) -> str:
    """Return the message of a command that ends in bad input: one error, no trace."""
    done = call(arguments, environment)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    for part in ("where:", "expected:", "was:", "remedy:"):
        assert part in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--processes=2"], "--coordinator, --processes and --process together"),
        (["--coordinator=a:1", "--processes=2", "--process=2"], "0 to 1, since --processes is 2"),
        (["--processes=0"], "1 or more"),
        (["--process=-1"], "0 or more"),
        (["--distributed", "--mode=evaluate"], "only training supports several processes"),
    ],
)
def test_processes_told_of_in_part_are_refused(arguments, told):
    with pytest.raises(InputError) as caught:
        checked(["lob_jax/main.py", "--config=configs/tiny.py", *arguments])
    assert told in str(caught.value)


def test_an_unknown_key_is_refused_with_the_one_meant(environment, tmp_path):
    """All else that a command line may have wrong is in test_command_lines.py."""
    told = refused(command("--config.train.learning_rte=1", f"--workdir={tmp_path}"), environment)
    assert "did you mean config.train.learning_rate?" in told


@pytest.mark.slow
def test_a_vocabulary_that_does_not_match_leaves_the_run_as_it_was(run, environment):
    folder, _ = run
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for mode in ("evaluate", "generate", "train"):
        told = refused(small("--config.tokens.time_digits=2", f"--mode={mode}", f"--workdir={folder}"), environment)
        assert "vocabulary" in told
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_day_with_a_fault_ends_before_anything_is_written(environment, tmp_path):
    name = "ABC_2024-01-02_34200000_57600000_{}_1.csv"
    (tmp_path / name.format("message")).write_text("34200.1,1,1,100,1000000,1\n34200.2,1,2,1x0,1000000,1\n")
    (tmp_path / name.format("orderbook")).write_text("9999999999,0,1000000,100\n9999999999,0,1000000,200\n")
    workdir = tmp_path / "run"
    told = refused(
        small("--config.data.feed=lobster", f"--config.data.path={tmp_path}", f"--workdir={workdir}"), environment
    )
    assert "line 2" in told and "1x0" in told
    assert not (workdir / "records").exists()


@pytest.mark.slow
def test_a_model_that_cannot_fit_is_refused_before_any_data_is_read(environment, tmp_path):
    told = refused(command("--config.model.d_model=65536", f"--workdir={tmp_path / 'run'}"), environment)
    assert "does not fit in memory" in told and "GiB" in told
    assert not (tmp_path / "run").exists()
