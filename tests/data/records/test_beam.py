"""Records prepared on Apache Beam equal those of `prepare_records`; needs a separate environment with [beam]."""

import numpy as np
import pytest

from lob_jax.data.records.builder import open_records, prepare_on_beam, prepare_records
from lob_jax.data.records.records import RecordPlan
from lob_jax.errors import InputError
from lob_jax.feeds.synthetic import SyntheticFeed
from lob_jax.tokens.exact import ExactTokenizer

PLAN = RecordPlan(
    record_events=200, context=32, book_levels=2, train_fraction=0.6, validation_fraction=0.2, embargo_events=20
)
SPLITS = ("train", "validation", "test")


def made(build, folder, feed, **settings):
    return build(
        feed, feed.days(), folder=folder, tokenizer=ExactTokenizer(), plan=PLAN, inputs={"feed": "test"}, **settings
    )


def test_without_beam_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(InputError, match=r"lob_jax\[beam\]"):
        made(prepare_on_beam, tmp_path / "records", SyntheticFeed(1, 600, 0))


@pytest.mark.filterwarnings(r"ignore:label\(\) is deprecated:DeprecationWarning")  # TFDS, with a newer protobuf
@pytest.mark.parametrize("days", [1, 4])
def test_the_direct_runner_writes_the_same_records(tmp_path, days):
    pytest.importorskip("apache_beam")
    feed = SyntheticFeed(days, 1500, 0)
    local = made(prepare_records, tmp_path / "local", feed, processes=1)
    beam = made(prepare_on_beam, tmp_path / "beam", feed, runner="DirectRunner")
    for key in ("fingerprint", "splits", "days", "token_counts", "outlines", "reveals"):
        assert beam[key] == local[key], key
    for split in SPLITS:
        ours, theirs = (open_records(tmp_path / name, split) for name in ("local", "beam"))
        assert len(ours) == len(theirs) > 0
        for index in range(len(ours)):
            for key, value in ours[index].items():
                assert np.array_equal(value, theirs[index][key]), (split, index, key)
