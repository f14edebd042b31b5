"""Command lines of every kind, parsed and checked in one process: each is what it says, or ends in one clear error."""

import collections
import contextlib
import os
import pathlib
import random
import shlex
import subprocess
import sys

import pytest

import lob_jax
import lob_jax.config.validation  # noqa: F401  what it imports makes folders for its caches, once
from lob_jax.command_line import FLAGS, MODES, Command, command, help_text, parse, told_command, wants_help
from lob_jax.errors import InputError
from lob_jax.main import checked, start
from lob_jax.settings import Kind, defaults, kinds_of, read, value_of
from lob_jax.signals import same_command

ROOT = pathlib.Path(__file__).resolve().parents[1]
COUNT = int(os.environ.get("LOB_JAX_COMMAND_LINES", "100"))
PROCESSES = int(os.environ.get("LOB_JAX_PROCESSES", "8"))
PROGRAM = "lob_jax/main.py"
CONFIGS = [named for path in sorted((ROOT / "configs").glob("*.py")) for named in (f"configs/{path.name}", path.stem)]
SIZED = ("compact", "modern", "multi_scale", "sized")
OTHER_CONFIGS = (
    *(
        "",
        "configs",
        "configs/tiny",
        "configs/tny.py",
        "configs/sized.py:",
        "configs/sized.py:bse",
        "configs/tiny.py:x",
    ),
    *(
        "nowhere/at/all.py",
        "README.md",
        "pyproject.toml",
        "~/x.py",
        "~nobody-here/x.py",
        "configs/ü.py",
        "a" * 300,
        ":",
    ),
)
VALUES = (
    *("", " ", "0", "1", "-1", "2", "3", "7", "10", "64", "1000", "1e3", "0.5", ".5", "-0.1", "1e-400", "1e400", "nan"),
    *(
        "inf",
        "-inf",
        "9" * 30,
        "1_000",
        "0x10",
        "true",
        "False",
        "yes",
        "None",
        "none",
        "null",
        "()",
        "(1,2)",
        "[3, 4]",
    ),
    *(
        "1,2,",
        "a,b",
        "'16 events','all'",
        "many",
        "ü",
        "日本",
        "\u202e",
        "\ud800",
        "a\nb",
        "\0",
        "a b",
        "[red]x[/red]",
        "%s",
    ),
    *("{}", "{'a': 1}", "--mode=train", "~", "~/day.csv", "~nobody-here/x", "/", "/dev/null", "../x", "x" * 5000),
    *(
        "tiny",
        "bfloat16",
        "float64",
        "masked",
        "auto",
        "synthetic",
        "lobster",
        "0.01",
        "1e999999999",
        "1e-30",
        "²",
        "１２",
    ),
)


def refused(*arguments: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse([PROGRAM, *arguments])
    return caught.value


def tiny(*arguments: str) -> Command:
    return parse([PROGRAM, "--config=configs/tiny.py", *arguments])


SENSIBLE = {int: ("1", "2", "8", "64", "1000"), float: ("0.5", "0.1", "1e-3", "2"), bool: ("True", "false")}


def random_line(draw: random.Random, kinds: dict[str, Kind]) -> list[str]:
    """Return a command line as a hurried, mistaken or malicious user writes it, or one with nothing wrong."""
    arguments = [f"--config={named}" for named in _configs(draw)]
    for _ in range(draw.choice((0, 0, 1, 1, 2, 4))):
        key = draw.choice(sorted(kinds))
        value = draw.choice(VALUES if draw.random() < 0.5 else SENSIBLE.get(kinds[key].type, VALUES))
        if draw.random() < 0.15:
            key = draw.choice((key[:-1], key.rpartition(".")[2], f"{key}x", key.partition(".")[0], "", "model..x", "ü"))
        arguments += _spelt(draw, f"config.{key}", value)
    for flag, values in {
        "mode": (*MODES, "trian", "", "ü"),
        "workdir": ("/tmp/x", "", "~/runs", "/dev/null/x", "a" * 300),
    }.items():
        if draw.random() < 0.3:
            arguments += _spelt(draw, flag, draw.choice(values))
    if draw.random() < 0.15:
        arguments += _spelt(draw, draw.choice((*FLAGS, "cofnig", "undefok", "flagfile", "x")), draw.choice(VALUES))
    if draw.random() < 0.1:
        arguments.append(draw.choice(("train", "-", "--", "=", "--=", "---x", "--no", "-config.seed")))
    draw.shuffle(arguments)
    return arguments


def _configs(draw: random.Random) -> list[str]:
    chance = draw.random()
    if chance < 0.7:
        return [draw.choice(CONFIGS)]
    if chance < 0.8:
        name, size = draw.choice(SIZED), draw.choice(("tiny", "small", "base", "large", "bse", ""))
        return [f"{draw.choice((name, f'configs/{name}.py'))}:{size}"]
    return draw.choices(OTHER_CONFIGS, k=draw.choice((0, 1, 1, 1, 2)))


def _spelt(draw: random.Random, name: str, value: str) -> list[str]:
    chance = draw.random()
    if chance < 0.8:
        return [f"--{name}={value}"]
    return draw.choice(([f"-{name}={value}"], [f"--{name}", value], [f"--no{name}"], [f"--{name}"]))


def asked_for(arguments: list[str]) -> dict[str, str]:
    """Return the text of each key that is given as --config.key=text; of several the last."""
    given = [
        argument.lstrip("-").split("=", 1) for argument in arguments if argument.startswith("-") and "=" in argument
    ]
    return {name.removeprefix("config."): text for name, text in given if name.startswith("config.")}


@pytest.mark.parametrize("part", range(10))
def test_any_command_line_is_what_it_says_or_one_clear_error(part, monkeypatch, tmp_path):
    """Nothing else is raised, nothing is written, nothing that was asked for is changed in silence."""
    monkeypatch.setenv("HOME", str(tmp_path))
    draw, base, taken = random.Random(part), defaults(), 0
    kinds = kinds_of(base)
    for _ in range(COUNT // 10):
        arguments = random_line(draw, kinds)
        try:
            found = checked([PROGRAM, *arguments])
        except InputError as error:
            assert str(error).count("\n  remedy:   ") == 1 and str(error).splitlines()[0] == error.what, arguments
            assert all(line.strip()[-1] != ":" for line in str(error).splitlines() if line.strip()), arguments
            continue
        taken += 1
        plain = all("=" in argument for argument in arguments)
        for key, text in asked_for(arguments).items() if plain else ():
            assert value_of(found.config, key) == read(text, kinds[key], where=key), arguments
    assert taken > 0 or COUNT <= 100  # of ten lines it may be that none is right
    assert list(tmp_path.iterdir()) == []


SETTINGS = (
    "data.synthetic_days=3 data.synthetic_events=2000 model.d_model=32 model.n_heads=2 model.d_ff=64 train.steps=40"
).split()
STATUSES = {0, 1, 2, 130, 75, 143}  # done; failed, or not learned; bad input; Ctrl-C; SIGTERM; a second one
SHUTTING_DOWN = {-2, -15}  # told when all was done, while Python itself ends


def right_line(draw: random.Random, folder: pathlib.Path) -> list[str]:
    """Return a command line with nothing wrong, which does something at once."""
    mode = draw.choice(("prepare", "train", "train", "train", "generate", "find_lr", "overfit", "summary", "inspect"))
    return ["--config=configs/tiny.py", f"--mode={mode}", f"--workdir={folder}", *(f"--config.{s}" for s in SETTINGS)]


def ended(process: subprocess.Popen, seconds: float) -> bool:
    """Wait so long for a process; return whether it has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is not None


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_a_process_told_to_end_does_so_and_shows_no_trace(part, tmp_path, one_device):
    """LOB_JAX_PROCESSES command lines of either kind, told once or twice at moments of chance."""
    draw, kinds, seen = random.Random(part), kinds_of(defaults()), collections.Counter()
    cache = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
    environment = {**one_device(tmp_path / "cache"), "HOME": str(tmp_path), "XDG_CACHE_HOME": cache}
    for number in range(PROCESSES // 2):
        arguments = random_line(draw, kinds) if draw.random() < 0.3 else right_line(draw, tmp_path / str(number % 4))
        output = tmp_path / "output"
        with output.open("w") as file:
            arguments = [part.replace("\0", "") for part in arguments]  # which no process can be given
            command_line = [sys.executable, "-m", "lob_jax.main", *arguments]
            process = subprocess.Popen(command_line, cwd=ROOT, env=environment, stdout=file, stderr=file)
            told = 0
            # Before the program's first line, while Python itself starts, nothing listens.
            for number_sent, wait in ((draw.choice((2, 15)), draw.uniform(1.5, 14)), (2, draw.choice((1, 45)))):
                if not ended(process, wait):
                    process.send_signal(number_sent)
                    told += 1
            assert ended(process, 20), arguments
        said = output.read_text(errors="replace")
        assert "Traceback" not in said, (arguments, said)
        assert process.returncode in STATUSES | SHUTTING_DOWN, (arguments, said)
        assert told or process.returncode in {0, 1, 2}
        seen[process.returncode] += 1
    assert seen


@pytest.mark.parametrize(
    ("argument", "remedy"),
    [
        ("--config.train.learning_rte=1", "did you mean config.train.learning_rate?"),
        ("--config.learning_rate=1", "did you mean config.train.learning_rate?"),
        ("--config.train=1", "write --config.train."),
        ("--confg.seed=1", "did you mean --config.seed?"),
        ("--mod=train", "did you mean --mode?"),
        ("--mode=trian", "did you mean --mode=train?"),
        ("--mode=forcast", "did you mean --mode=forecast?"),
    ],
)
def test_what_was_probably_meant_is_named(argument, remedy):
    assert remedy in refused("--config=configs/tiny.py", argument).remedy


@pytest.mark.parametrize(
    ("named", "remedy"),
    [
        ("configs/tiny", "did you mean --config=configs/tiny.py?"),
        ("tny", "did you mean --config=tiny?"),
        ("tny.py", "did you mean --config=tiny?"),
        ("tny:tiny", "did you mean --config=tiny?"),
        ("configs/multiscale.py", "did you mean --config=configs/multi_scale.py?"),
        ("configs/compact.py:tinny", "did you mean :tiny?"),
        ("configs/tiny.py:small", "leave out :small"),
    ],
)
def test_a_configuration_that_was_probably_meant_is_named(named, remedy):
    assert remedy in refused(f"--config={named}").remedy


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("train.steps=many", "a whole number, or None"),
        ("train.steps=1.5", "a whole number, or None"),
        ("train.batch_size=None", "a whole number"),
        ("train.learning_rate=fast", "a number"),
        ("train.learning_rate=nan", "a number"),
        ("model.book_state=maybe", "True or False"),
        ("forecast.horizons=soon", "whole numbers, such as 10,20"),
        ("forecast.quantiles=x", "numbers, such as 0.1,0.9"),
        ("model.heads.outlook_events=x", "whole numbers, such as 10,20"),
    ],
)
def test_a_wrong_type_says_what_is_right_in_words(argument, expected):
    error = refused("--config=configs/tiny.py", f"--config.{argument}")
    assert str(error.expected) == expected and error.where == f"--config.{argument.partition('=')[0]}"
    key, _, example = error.remedy.partition("=")
    assert tiny(f"{key.removeprefix('write ')}={example}")  # the remedy works


def test_values_are_read_as_they_are_written():
    found = tiny(
        *("--config.train.steps", "7", "--config.model.book_state", "--noconfig.model.causal", "-config.seed=3"),
        *(
            "--config.forecast.horizons=(5, 25)",
            "--config.model.attention.horizons='16 events','all'",
            "--mode=summary",
        ),
        *("--config.train.max_hours=2", "--config.data.path=a=b c", "--config.seed=4", "--workdir=~/runs/x"),
    )
    config = found.config
    assert (config.train.steps, config.model.book_state, config.model.causal, config.seed) == (7, True, False, 4)
    assert config.forecast.horizons == (5, 25) and config.model.attention.horizons == ("16 events", "all")
    assert (config.train.max_hours, config.data.path, found.mode) == (2.0, "a=b c", "summary")
    assert found.workdir == pathlib.Path.home() / "runs" / "x" and config.is_locked
    assert tiny("--config.train.steps=None").config.train.steps is None  # what the file has set can be undone
    assert tiny().workdir == pathlib.Path("runs/tiny")


BAD_FILES = {
    "def get_config(:\n": "line 1",
    "import nothing_of_this_name\n": "ModuleNotFoundError",
    "\n\nraise SystemExit(3)\n": "line 3",
    "def get_config():\n    return 1 / 0\n": "line 2",
    "x = 1\n": "no get_config()",
    "get_config = 5\n": "no get_config()",
    "def get_config():\n    return {'seed': 1}\n": "dict",
    "def get_config():\n    pass\n": "NoneType",
    "def get_config(size):\n    pass\n": "add the size",
    "\0": "null bytes",
}


@pytest.mark.parametrize("text", BAD_FILES, ids=range(len(BAD_FILES)))
def test_a_file_that_is_no_configuration_is_refused_where_it_is_wrong(text, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    error = refused(f"--config={tmp_path / 'mine.py'}")
    assert BAD_FILES[text] in str(error) and "mine.py" in str(error)


OWN = """from lob_jax.configs import tiny


def get_config():
    config = tiny.get_config()
    {}
    return config
"""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("config.model.d_modle = 3", "did you mean config.model.d_model?"),
        ("config.extra = 3", "config.extra"),
        ("del config.train.clip", "add it to the configuration file; its default in configs/base.py is 1.0"),
        ("del config.train", "config.train"),
        ("config.forecast.horizons = ('a',)", "whole numbers, such as 10,20"),
        ("config.train.learning_rate = float('nan')", "a number"),
        ("config.model = 5", "TypeError"),
        ("import ml_collections; config = ml_collections.ConfigDict({'model': 5})", "a section of keys"),
    ],
)
def test_a_configuration_of_ones_own_has_the_keys_and_types_of_base(line, told, tmp_path):
    (tmp_path / "mine.py").write_text(OWN.format(line))
    assert told in str(refused(f"--config={tmp_path / 'mine.py'}"))


def test_a_configuration_of_ones_own_is_taken(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN.format("config.train.clip = 2.0"))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = parse([PROGRAM, "--config=~/mine.py", "--config.train.clip=3"])
    assert found.config.train.clip == 3.0 and found.workdir == pathlib.Path("runs/mine")


def test_a_run_cannot_lie_where_a_file_is(tmp_path):
    (tmp_path / "file").touch()
    for workdir in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("a" * 300)):
        for mode in ("train", "generate"):
            with pytest.raises(InputError) as caught:
                checked([PROGRAM, "--config=configs/tiny.py", f"--mode={mode}", f"--workdir={workdir}"])
            assert caught.value.where == "--workdir"
    assert checked([PROGRAM, "--config=configs/tiny.py", "--mode=summary", f"--workdir={tmp_path / 'file'}"])
    assert checked([PROGRAM, "--config=configs/tiny.py", f"--workdir={tmp_path / 'new' / 'run'}"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_cannot_lie_where_nothing_can_be_written(tmp_path, monkeypatch):
    """Whoever runs the tests may write anywhere, so what the system says is put in its mouth."""
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(InputError, match="is not writable") as caught:
        checked([PROGRAM, "--config=configs/tiny.py", f"--workdir={tmp_path / 'new' / 'run'}"])
    assert caught.value.was == tmp_path


def test_help_names_every_mode_and_flag():
    assert wants_help([PROGRAM, "--config=configs/tiny.py", "--help"]) and not wants_help([PROGRAM, "--config=help"])
    for name in (*MODES, *FLAGS):
        assert name in help_text()


def test_the_list_of_configurations_takes_none():
    found = parse([PROGRAM, "--mode=configs"])
    assert (found.mode, found.config.to_dict(), found.notes) == ("configs", defaults().to_dict(), ())
    for shown in (["--mode=configs"], ["--mode=show_config", "--config=tiny"]):
        assert checked([PROGRAM, *shown, "--workdir=/dev/null"])


@pytest.mark.parametrize("argument", ["--version", "-version"])
def test_the_version_is_that_of_the_package(argument, capsys):
    start([PROGRAM, argument])
    assert capsys.readouterr().out == f"lob_jax {lob_jax.__version__}\n"


def test_the_command_of_a_trial_keeps_what_the_sweep_was_given():
    arguments = shlex.split(
        "--config=configs/tiny.py --mode sweep --workdir=runs/s --config.sweep.trials=3 "
        "--config.train.learning_rate=1 -config.data.path 'a b.csv' --config.model.book_state"
    )
    parameters = {"train.learning_rate": 0.25, "model.norm": "post"}
    told = command(arguments, parameters, mode="train", workdir=pathlib.Path("runs/s/best"))
    assert shlex.split(told) == shlex.split(
        "python -m lob_jax.main --config=configs/tiny.py '--config.data.path=a b.csv' --config.model.book_state "
        "--config.train.learning_rate=0.25 --config.model.norm=post --mode=train --workdir=runs/s/best"
    )


def test_a_command_for_another_folder_names_the_run_that_its_configuration_is_from():
    given = ["--workdir=runs/s", "--mode=sweep", "--config.seed=2"]
    told = command(given, {}, mode="train", workdir=pathlib.Path("runs/s/best"))
    began = ["python", "-m", "lob_jax.main"]
    assert shlex.split(told) == [
        *(*began, "--config=runs/s/config.json", "--config.seed=2", "--mode=train", "--workdir=runs/s/best")
    ]
    told = command(given, {}, mode="train", workdir=pathlib.Path("runs/s"))
    assert shlex.split(told) == [*began, "--config.seed=2", "--mode=train", "--workdir=runs/s"]


MODULE = "python -m lob_jax.main"


@pytest.mark.parametrize(
    ("program", "same", "told"),
    [
        ("{}/lob-jax", "lob-jax --mode=evaluate", "lob-jax --mode=train --workdir=x"),
        ("{}/no/lob-jax", "{}/no/lob-jax --mode=evaluate", "{}/no/lob-jax --mode=train --workdir=x"),
        ("lob_jax/main.py", f"{MODULE} --mode=evaluate", f"{MODULE} --mode=train --workdir=x"),
        ("{}/mine.py", f"{MODULE} --mode=evaluate", "--mode=train --workdir=x, with the same configuration"),
    ],
)
def test_a_command_to_type_begins_as_the_users_did(program, same, told, tmp_path, monkeypatch):
    (tmp_path / "lob-jax").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [program.format(tmp_path), "--mode=evaluate"])
    assert same_command() == same.format(tmp_path)
    assert told_command(mode="train", workdir=pathlib.Path("x")) == told.format(tmp_path)
