import json

import numpy as np

from lob_jax.errors import InputError
from lob_jax.events.schema import Code, Events, Kind
from lob_jax.feeds.feed import Reading
from lob_jax.feeds.reading.faults import Faults
from lob_jax.feeds.reading.report import reading_report


def test_rows_add_up_and_reasons_of_several_files_are_joined():
    events = Events.from_columns(
        time_ns=np.array([5, 4, 6, 2, 1]),
        kind=np.array([Kind.ADD, Kind.ADD, Kind.CONTROL, Kind.EXECUTE, Kind.CONTROL]),
        code=np.array([0, 0, Code.FEED_GAP, 0, Code.HALT]),
    )
    first, second = (Faults(Reading(on_error="skip"), name) for name in ("a", "b"))
    for faults, rows in ((first, 2), (second, 3)):
        faults.refuse(InputError("bad", where="", expected="", was="", remedy=""), raw="", rows=rows)
    dropped = {"early": np.int64(4), "never": 0}
    report = reading_report(
        "x", events, inputs={"a": "f"}, rows_read=20, dropped=dropped, faults=[first, second], extra=1
    )
    assert report["rows_dropped"] == {"early": 4, "bad": 5} and report["rows_kept"] == 11
    assert report["kinds"] == {
        "ADD": 2, "CANCEL": 0, "DELETE": 0, "EXECUTE": 1, "EXECUTE_HIDDEN": 0, "CROSS": 0, "CONTROL": 2
    }  # fmt: skip
    assert report["codes"]["FEED_GAP"] == report["codes"]["HALT"] == report["gaps"] == 1
    assert report["time_reversals"] == 3 and report["extra"] == 1
    assert json.loads(json.dumps(report)) == report
