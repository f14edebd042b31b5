"""Flows are read from the folders that a configuration names, and compared."""

import dataclasses

import numpy as np
import pytest

from lob_jax.errors import InputError
from lob_jax.evaluation.fidelity.folders import write_folders
from lob_jax.feeds.load import load_incremental_data
from lob_jax.runs.fidelity import first_levels, named_folders, read_flows
from lob_jax.statistics.flow import disjoint_spans, flow_of_spans
from lob_jax.writers.lobster import write_lobster


@pytest.fixture(scope="module")
def day():
    return load_incremental_data(events=700, seed=3)


@pytest.fixture(scope="module")
def flow(day):
    return flow_of_spans(day, disjoint_spans(480, length=40), levels=3)


@pytest.fixture(scope="module")
def folder(flow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flows")
    write_folders(folder / "mine", flow.select([0, 1, 2]), generated=flow.select([3, 4, 5, 6, 7, 8]))
    shallow = first_levels(flow, 2)
    write_folders(folder / "theirs", shallow.select([0, 1]), generated=shallow.select([9, 10]), ids=[1, 7])
    return folder


def test_names_of_folders_are_their_own_or_given():
    assert named_folders(["a/mine/", "x=b/c", "d/data_gen", "e/f=g/h"]) == {
        "mine": "a/mine",
        "x": "b/c",
        "d": "d/data_gen",
        "h": "e/f=g/h",
    }
    assert named_folders([], needed=False) == {}
    for wrong, what in (([], "no generated"), (["a/x", "b/x"], "same name"), (["real=a"], "same name")):
        with pytest.raises(InputError, match=what):
            named_folders(wrong)


def test_flows_share_tick_and_levels(flow, folder):
    told = []
    found = read_flows(
        str(folder / "mine"),
        [str(folder / "mine"), f"other={folder / 'theirs' / 'data_gen'}"],
        on_progress=lambda *of: told.append(of),
    )
    assert list(found.generated) == ["mine", "other"] and found.training is None
    assert (len(found.real), len(found.generated["mine"]), len(found.generated["other"])) == (3, 6, 2)
    assert {one.levels for one in (found.real, *found.generated.values())} == {2}
    assert {one.instrument.tick for one in (found.real, *found.generated.values())} == {flow.instrument.tick}
    np.testing.assert_array_equal(found.real.book_size, flow.select([0, 1, 2]).book_size[:, :, :2])
    assert told[-1] == ("other", 2, 2) and told[2] == ("real", 3, 3)
    assert found.report["mine"]["real_continued"] == 3 and found.report["mine"]["unknown_real_ids"] == 0
    assert found.report["other"]["real_continued"] == 1 and found.report["other"]["unknown_real_ids"] == 1


def test_days_stand_for_real_and_training_flow(day, folder, tmp_path):
    path = str(write_lobster(tmp_path, day, levels=3).message)
    found = read_flows(path, [str(folder / "mine")], training=path, events=100, levels=1, tick="0.02")
    assert found.training is not None and len(found.training) == len(found.real) > 3
    assert found.real.levels == found.training.levels == 1 and found.real.instrument.tick == 200
    assert "real_continued" not in found.report["mine"] and found.report["mine"]["prices_off_tick"] > 0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"real": ""}, "no real sequences are named"),
        ({"real": "nowhere"}, "no sequences in the folder"),
        ({"levels": 3}, "too few levels"),
        ({"tick": "0.00001"}, "a tick that LOBSTER's prices do not have"),
    ],
)
def test_what_cannot_be_read_is_refused(changes, what, folder):
    arguments = {"real": str(folder / "theirs"), "levels": 0, "tick": None} | changes
    with pytest.raises(InputError, match=what):
        read_flows(generated=[str(folder / "mine")], **arguments)


def test_baselines_alone_need_no_folder(flow, folder):
    found = read_flows(str(folder / "mine"), [], baselines=["zero_order"])
    assert dict(found.generated) == {} and list(found.beside({"zero_order": flow}).generated) == ["zero_order"]
    with pytest.raises(InputError, match="same name"):
        found.beside({"zero_order": flow}).beside({"zero_order": flow})


def test_a_cut_book_keeps_its_best_levels(flow):
    cut = first_levels(flow, 1)
    assert cut.levels == 1 and dataclasses.replace(cut, book_price=flow.book_price).levels == 3
    np.testing.assert_array_equal(cut.book_price[:, :, 0], flow.book_price[:, :, 0])
