"""The README stays true: its example prints what it says, its overview names every folder, its commands exist."""

import contextlib
import io
import pathlib
import re
import shlex
import subprocess

import pytest

from tests.test_layout import ORDER

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "BUILD_NOTES.md", ROOT / "README.md"])
CODE = r"```python\n(.*?)```\s+```text\n(.*?)```"
COMMAND = re.compile(r"^(?:\$ )?((?:bash|python -m|source) [^#\n`]+)", re.MULTILINE)


def commands(text: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [command.strip() for block in blocks for command in COMMAND.findall(block)]


def test_the_path_of_one_event_is_what_the_code_prints():
    ((code, printed),) = re.findall(CODE, README, re.DOTALL)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue() == printed


def test_the_overview_has_every_folder_in_the_order_of_the_data():
    overview = README[README.index("```\nlob_jax/") :]
    listed = re.findall(r"^  (\w+)/ ", overview[: overview.index("\n```\n")], re.MULTILINE)
    assert listed == [part for part in ORDER if (ROOT / "lob_jax" / part).is_dir()]


@pytest.mark.parametrize("command", sorted({command for page in PAGES for command in commands(page.read_text())}))
def test_a_command_names_what_is_there(command):
    """What the commands do is tested in tests/test_main.py, with small settings."""
    words = shlex.split(command)
    if words[0] == "bash":
        assert subprocess.run(["bash", "-n", words[1]], cwd=ROOT).returncode == 0
        assert (ROOT / words[1]).stat().st_mode & 0o111
    elif words[0] == "python":
        module = ROOT / words[2].replace(".", "/")
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), words[2]
        options = dict(word.lstrip("-").split("=", 1) for word in words[3:] if "=" in word)
        if "config" in options:
            assert (ROOT / options["config"].partition(":")[0]).exists()
    else:
        assert words == ["source", ".venv/bin/activate"]


def test_the_readme_has_its_main_commands():
    text = " ".join(commands(README))
    for part in ("launch/demo.sh", "launch/test.sh", "lob_jax.main --config=configs/lobster_day.py", "--mode=generate"):
        assert part in text
