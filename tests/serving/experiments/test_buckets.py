"""Where units fall: golden vectors, in this process, in others and in other versions of Python."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lob_jax.serving.experiments import buckets

ROOT = pathlib.Path(__file__).resolve().parents[3]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "assignments.json").read_text())
# Run by other interpreters, which have nothing of this project installed: the module is loaded from its file.
ALONE = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("buckets", sys.argv[1])
buckets = importlib.util.module_from_spec(spec)
spec.loader.exec_module(buckets)
golden, found = json.loads(sys.stdin.read()), []
for one in golden["units"]:
    enrol, arm = (buckets.bucket(one["salt"], purpose, one["unit"]) for purpose in ("enrol", "arm"))
    found.append({
        "salt": one["salt"], "unit": one["unit"], "enrol": "%016x" % enrol, "arm": "%016x" % arm,
        "enrolled": [buckets.is_below(enrol, share) for share in golden["shares"]],
        "chosen": [buckets.chosen(arm, weights) for weights in golden["weights"]],
    })
chances = [[buckets.share(weights, k) for k in range(len(weights))] for weights in golden["weights"]]
print(json.dumps({"shares": golden["shares"], "weights": golden["weights"], "chances": chances, "units": found}))
"""


def found_by(python, **environment):
    """Return what an interpreter finds for the golden units."""
    done = subprocess.run(
        [python, "-I" if not environment else "-s", "-c", ALONE, buckets.__file__],
        input=json.dumps(GOLDEN),
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def others():
    """Return the other interpreters of this machine, one for each version from 3.9 on."""
    versions = pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    named = [shutil.which(f"python3.{minor}") for minor in range(9, 20)]
    paths = {str(pathlib.Path(name).resolve()) for name in [*named, *versions.glob("*/bin/python3")] if name}
    found = {}
    for path in sorted(paths - {str(pathlib.Path(sys.executable).resolve())}):
        asked = [path, "-c", "import sys; print(sys.version_info[:2] >= (3, 9), sys.version)"]
        done = subprocess.run(asked, capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.startswith("True"):
            found[done.stdout] = path
    return list(found.values())


@pytest.mark.parametrize("seed", ["0", "1"])
def test_golden_vectors_in_another_process(seed):
    assert found_by(sys.executable, PYTHONHASHSEED=seed) == GOLDEN


def test_golden_vectors_in_other_versions_of_python():
    if not (pythons := others()):
        pytest.skip("needs another Python, from 3.9 on")
    for python in pythons:
        assert found_by(python) == GOLDEN, python


def test_the_hash_is_of_three_texts_behind_their_lengths():
    texts = [b"arm", b"s-1", "\u00fc".encode()]
    whole = b"".join(len(text).to_bytes(8, "big") + text for text in texts)
    assert buckets.bucket("s-1", "arm", "\u00fc") == int.from_bytes(hashlib.sha256(whole).digest()[:8], "big")
    assert buckets.bucket("ab", "arm", "c") != buckets.bucket("a", "arm", "bc")
    assert buckets.bucket("a\0b", "arm", "c") != buckets.bucket("a", "arm", "b\0c")


def test_edges_of_shares_and_weights():
    assert not buckets.is_below(0, 0.0) and buckets.is_below(2**64 - 1, 1.0)
    half = 2**63
    assert buckets.is_below(half - 1, 0.5) and not buckets.is_below(half, 0.5)
    assert [buckets.chosen(place, [1, 1]) for place in (0, half - 1, half, 2**64 - 1)] == [0, 0, 1, 1]
    assert buckets.chosen(2**64 - 1, [0.1] * 10) == 9  # whose sum is below 1 in float64
    with pytest.raises(ValueError):
        buckets.chosen(0, [])


def test_two_purposes_know_nothing_of_each_other():
    rows = [[buckets.bucket("s", purpose, f"u{unit}") / 2**64 for purpose in ("enrol", "arm")] for unit in range(4000)]
    enrol, arm = np.array(rows).T
    assert abs(np.corrcoef(enrol, arm)[0, 1]) < 0.05
    assert abs(np.mean(arm[enrol < 0.1]) - 0.5) < 0.05  # an arm of early units is drawn like that of others
