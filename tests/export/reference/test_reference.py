"""A reference is read as it was written; one that is damaged is refused, and bundles without one are opened."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lob_jax.errors import InputError
from lob_jax.export.bundle import open_bundle
from lob_jax.export.manifest import MANIFEST
from lob_jax.export.reference.event_counts import SHAPES
from lob_jax.export.reference.reference import COUNTS, REFERENCE, read_reference, write_reference
from lob_jax.feeds.synthetic import SyntheticFeed
from tests.export import sample
from tests.export.reference.references import reference_of_days

REFERENCE_OF_A_DAY = reference_of_days([SyntheticFeed(events=2000).read("2024-01-02")])


@pytest.fixture
def folder(tmp_path):
    write_reference(tmp_path, REFERENCE_OF_A_DAY)
    return tmp_path


def read(folder):
    return read_reference(folder, written_by="1")


def same(found, expected):
    """Check that two references are the same."""
    plain = ("time_zone", "tick", "comparable", "quality")
    assert [getattr(found, name) for name in plain] == [getattr(expected, name) for name in plain]
    assert list(found.features) == list(expected.features)
    for name, counts in found.features.items():
        np.testing.assert_array_equal(counts, expected.features[name], strict=True)
    for name in SHAPES:
        np.testing.assert_array_equal(getattr(found.baseline, name), getattr(expected.baseline, name), strict=True)


def test_a_reference_is_read_as_it_was_written(folder):
    same(read(folder), REFERENCE_OF_A_DAY)
    assert (folder / COUNTS).stat().st_size < 3 * 2**20


@pytest.mark.parametrize("quality", [None, dataclasses.replace(REFERENCE_OF_A_DAY.quality, gain_se=None, histogram=())])
def test_what_is_not_known_is_none(tmp_path, quality):
    expected = dataclasses.replace(REFERENCE_OF_A_DAY, quality=quality, comparable=False)
    write_reference(tmp_path, expected)
    same(read(tmp_path), expected)


def test_a_folder_without_a_reference_has_none(tmp_path):
    assert read(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("features/class", np.zeros((48, 12), np.int32)),
        ("features/class", np.zeros((48, 13), np.int64)),
        ("features/spread", np.full((48, 16), -1, np.int32)),
        ("baseline/digits", np.array([1], np.int32)),
        ("baseline/digits", np.array([13], np.int32)),
        ("more", np.zeros(1, np.int32)),
    ],
)
def test_counts_that_are_none_are_refused(folder, name, array):
    arrays = load_file(folder / COUNTS)
    save_file({**arrays, name: array}, folder / COUNTS)
    with pytest.raises(InputError, match="counts of the reference cannot be read") as caught:
        read(folder)
    assert caught.value.where == folder / COUNTS


def test_counts_that_are_missing_are_refused(folder):
    (folder / COUNTS).unlink()
    with pytest.raises(InputError, match="counts of the reference cannot be read"):
        read(folder)


def test_a_key_that_is_not_known_is_refused(folder):
    content = json.loads((folder / REFERENCE).read_text())
    (folder / REFERENCE).write_text(json.dumps({**content, "tick": "1"}))
    with pytest.raises(InputError, match="does not describe"):
        read(folder)


def test_a_bundle_holds_its_reference(tmp_path):
    sample.write(tmp_path / "bundle", reference=REFERENCE_OF_A_DAY)
    opened = open_bundle(tmp_path / "bundle")
    same(opened.contents.reference, REFERENCE_OF_A_DAY)
    listed = json.loads((tmp_path / "bundle" / MANIFEST).read_text())["files"]
    assert {REFERENCE, COUNTS} <= listed.keys()


def test_a_bundle_of_an_earlier_version_has_none(tmp_path):
    sample.write(tmp_path / "bundle")
    assert open_bundle(tmp_path / "bundle").contents.reference is None
