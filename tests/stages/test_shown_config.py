"""What --mode=show_config prints is a configuration file that says what each key means; --mode=configs names all."""

import pathlib
import re
import tokenize

import pytest

import lob_jax
from lob_jax.config_sources import load_config
from lob_jax.configs import bundled
from lob_jax.errors import InputError
from lob_jax.settings import defaults, kinds_of, value_of
from lob_jax.stages.shown_config import configs as list_configs
from lob_jax.stages.shown_config import described, show_config

MARK = re.compile(r" ?\[base\.py: .*\]$")
BASE = bundled()["base"]


def comments(path: pathlib.Path) -> list[str]:
    """Return the comments of a file, without marks."""
    with path.open("rb") as file:
        found = [token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    return [text for text in (MARK.sub("", text) for text in found) if text != "#"]


def shown(config, folder: pathlib.Path, capsys) -> pathlib.Path:
    """Return the file that a user makes of what is printed."""
    show_config(config, folder)
    path = folder / "mine.py"
    path.write_text(capsys.readouterr().out)
    return path


@pytest.mark.parametrize("name", bundled())
def test_what_is_printed_is_a_file_that_gives_the_same(name, tmp_path, capsys):
    config = load_config(name, defaults()).config
    path = shown(config, tmp_path, capsys)
    assert load_config(str(path), defaults()).config == config
    assert comments(path) == comments(BASE)
    base, marked = defaults(), [line for line in path.read_text().splitlines() if "[base.py: " in line]
    differing = [key for key in kinds_of(base) if value_of(config, key) != value_of(base, key)]
    assert len(marked) == len(differing) and (name in ("base", "sized")) == (not marked)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.py"]


def test_a_value_is_in_the_place_of_base_s_which_is_marked(tmp_path, capsys):
    config = load_config("base", defaults()).config
    config.update_from_flattened_dict(
        {
            "seed": 3,
            "data.symbols": 'a"b\\\n%[é日]',
            "data.tick": "0.01",
            "train.max_hours": 2.0,
            "model.heads.outlook_events": (10,),
            "model.attention.horizons": ("all",),
            "forecast.history": 40,
            "train.beta1": 1e-05,
        }
    )
    path = shown(config, tmp_path, capsys)
    assert load_config(str(path), defaults()).config == config
    lines = path.read_text().splitlines()
    assert "    config.seed = 3  # of initial weights, dropout and the order of the data [base.py: 0]" in lines
    assert "    train.beta1 = 1e-05  # [base.py: 0.9]" in lines
    assert "    train.beta2 = 0.95" in lines and "    generate.seed = 0" in lines
    (tick,) = (line for line in lines if "data.tick" in line)
    assert tick.startswith('    data.tick = "0.01"  # smallest price step') and tick.endswith("[base.py: None]")
    assert lines[0].startswith(
        f'"""The complete configuration, as `--mode=show_config` of lob_jax {lob_jax.__version__} '
    )


def test_a_locked_configuration_is_shown_as_it_is(tmp_path, capsys):
    config = load_config("tiny", defaults()).config.lock()
    assert load_config(str(shown(config, tmp_path, capsys)), defaults()).config.to_dict() == config.to_dict()


def test_every_bundled_configuration_has_a_line(tmp_path, capsys):
    list_configs(defaults(), tmp_path)
    lines = capsys.readouterr().out.splitlines()
    for name, file in bundled().items():
        meaning, sized = described(file.read_text())
        assert meaning.endswith(".")
        told = f"{name}[:SIZE]" if sized else name
        assert any(line.split() == [told, *meaning.split()] for line in lines), name
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", bundled())
def test_a_configuration_takes_a_size_if_the_list_says_so(name):
    if described(bundled()[name].read_text())[1]:
        assert load_config(f"{name}:tiny", defaults()).config.model.d_model == 64
    else:
        with pytest.raises(InputError, match="takes no size"):
            load_config(f"{name}:tiny", defaults())
