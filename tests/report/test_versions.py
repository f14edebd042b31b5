"""Versions: of the package, its dependencies, and of each module that defines metrics."""

import hashlib

import lob_jax
from lob_jax.report.versions import PACKAGE, _numbers, metric_versions, package_versions


def test_the_package_and_what_its_numbers_depend_on_have_versions():
    found = package_versions()
    assert found["lob_jax"] == lob_jax.__version__ and {"Python", "jax", "numpy", "scipy"} <= set(found)


def test_every_metric_has_the_digest_of_its_module():
    found = {(one.group, one.name): one for one in metric_versions()}
    source = (PACKAGE / "evaluation/metrics/bits.py").read_bytes()
    assert found["likelihood", "bits"].digest == hashlib.sha256(source).hexdigest()[:12]
    assert {name for group, name in found if group == "likelihood"} == {"bits", "loss", "accuracy"}
    assert all(not name.startswith("_") for _, name in found)


def test_the_numbers_of_definitions_are_read_from_the_source():
    assert _numbers(b"Score('a', version=2)\nScore('b', version=3,\n c)") == "2, 3"
    assert _numbers(b"Score('a')") == "1"
