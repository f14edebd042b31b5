"""Stored records column by column, against TFDS's own decoder."""

import numpy as np
import pytest

from lob_jax.data.records.decoding import StoredRecord, columns_of
from lob_jax.data.records.records import RecordPlan
from lob_jax.data.records.shards import record_features
from lob_jax.tokens.exact import ExactTokenizer

PLAN = RecordPlan(40, 24, 2, train_fraction=0.6, validation_fraction=0.2, embargo_events=20, flow_state=True)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_column_is_what_tfds_decodes(rows):
    """Of arrays with no, one and more rows; numbers at the ends of what they can be; text that is not ASCII."""
    features = record_features(ExactTokenizer(), PLAN)
    rng, example = np.random.default_rng(rows), {}
    for name, feature in features.items():
        axes = [rows] if len(feature.shape) == 1 else [rows + 1, rows + 2][: len(feature.shape)]
        example[name] = rng.integers(0, 2, axes).astype(feature.np_dtype)[()]
    example |= {"instrument": "µ", "first_event": np.int64(2**63 - 1), "start_time_ns": np.int64(-(2**63))}
    content = features.serialize_example(example)
    read, expected = StoredRecord(content, columns_of(features), {"tokenizer": "exact"}), dict(example)
    decoded = features.deserialize_example_np(content) | {"instrument": "µ", "tokenizer": "exact"}
    expected["tokenizer"] = "exact"
    assert set(read) == set(decoded) == set(expected) and len(read) == len(expected)
    assert sum(np.ndim(value) == 2 for value in read.values()) > 1
    for name, value in read.items():
        for other in (decoded[name], expected[name]):
            np.testing.assert_array_equal(value, other, err_msg=name)
            assert np.asarray(value).dtype == np.asarray(other).dtype and np.shape(value) == np.shape(other), name


def test_a_record_has_no_other_columns():
    features = record_features(ExactTokenizer(), PLAN)
    with pytest.raises(KeyError, match="queue"):
        StoredRecord(b"", columns_of(features), {"tokenizer": "exact"})["queue"]
