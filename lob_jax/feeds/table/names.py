"""Which column of a table is which. This is the one place that says what a table of order events holds.

One row an event, in the order in which the venue made them; the book starts empty, so that orders which rest already
come first, as ADDs. Columns are found by their names, whatever their order; others are ignored, and listed in the
report.

| column | required | content |
|---|---|---|
| time_ns, time_us, time_ms or time | one of them | exchange time: ns, us or ms since 1970 (UTC), or a date with a time: a datetime column, or ISO 8601 text; one without a time zone needs the setting `time_zone` |
| kind | yes | ADD, CANCEL (a part of an order), DELETE (all of it), EXECUTE, EXECUTE_HIDDEN, CROSS or CONTROL, or the numbers 1 to 7 |
| side | yes | of the resting order, of an execution too: bid, buy, b or 1; ask, sell, s or -1 |
| price | yes | in units of the currency: a decimal number (text, Decimal or integer), or a float64 that is the nearest double of one with at most 15 digits |
| size | yes | what the event adds or removes, likewise; may be empty for a DELETE: all that is left |
| order_id | no | a whole number, of an ADD and all that happens to its order; without the column, each level is one order |
| sequence | no | a whole number that never decreases; else the number of the row |
| receive_ns | no | capture time, as time_ns or a datetime; 0 or empty for none |
| code | for CONTROL | HALT, RESUME_QUOTE, RESUME_TRADE, CLEAR, SESSION_OPEN, SESSION_CLOSE, FEED_GAP, or 1 to 7; its side, price and size are empty or 0 |
| flags | no | sum of the numbers of `Flag`; else every event ends its group, and the aggressor of an execution is known |
| symbol | no | else the name of the file, without its suffixes |
| trading_day | of several days | ISO date; else that of the first row, and no row may be more than a day from it |
"""  # noqa: E501

import difflib
import zoneinfo
from collections.abc import Mapping, Sequence

from lob_jax.errors import InputError

TIMES = ("time_ns", "time_us", "time_ms", "time")
REQUIRED = ("kind", "side", "price", "size")
OPTIONAL = ("order_id", "sequence", "receive_ns", "code", "flags", "symbol", "trading_day")
NAMES = (*TIMES, *REQUIRED, *OPTIONAL)
_LEVELS = {"is_snapshot", "amount", "action", "update_type"}  # columns of what is no order event, if kind is missing
_SHOWN = 12


def parse_columns(text: str, *, where: str = "config.data.columns") -> dict[str, str]:
    """Return what a table's columns are called, such as {"price": "px"} for "price=px,time_ns=ts".

    Raises:
      InputError: no such list, or a name that no column of `NAMES` has.
    """
    pairs = [entry.partition("=") for entry in text.split(",") if entry.strip()]
    found = {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
    if len(found) < len(pairs) or not all(found.values()):
        raise InputError(
            "names of columns that cannot be read",
            where=where,
            expected="<our name>=<the table's name>, by commas, each once, such as price=px,time_ns=ts",
            was=text,
            remedy="write it so",
        )
    for ours in found:
        _known(ours, where)
    return found


def _known(ours: str, where: str) -> None:
    if ours not in NAMES:
        meant = difflib.get_close_matches(ours, NAMES, n=1)
        raise InputError(
            "a column that a table of order events does not have",
            where=where,
            expected=", ".join(NAMES),
            was=ours,
            remedy=f"did you mean {meant[0]}?" if meant else "name one of these, and behind it what the table calls it",
        )


def find_columns(names: Sequence[str], called: Mapping[str, str], *, where: object) -> dict[str, str]:
    """Return what a table calls each of our columns that it has.

    Args:
      names: the table's columns.
      called: what the user says about them.
      where: the table, for errors.

    Raises:
      InputError: a required column is missing, or one that is used lies there twice.
    """
    for ours, theirs in called.items():
        if theirs not in names:
            raise _missing(theirs, names, where=where, remedy=f"name the column that holds {ours}: columns={ours}=...")
    found = {ours: called.get(ours, ours) for ours in NAMES if called.get(ours, ours) in names}
    times = [ours for ours in TIMES if ours in found]
    chosen = next((ours for ours in times if ours in called), times[0] if times else None)
    found = {ours: theirs for ours, theirs in found.items() if ours not in TIMES or ours == chosen}
    missing = [ours for ours in REQUIRED if ours not in found] + ([] if chosen else ["time_ns"])
    if "kind" in missing and _LEVELS & set(names):
        raise _no_events(names, where)
    if missing:
        raise _missing(
            missing[0], names, where=where, remedy="rename the column that holds it, or say what it is called"
        )
    twice = [theirs for theirs in found.values() if list(names).count(theirs) > 1]
    if twice:
        raise InputError(
            "a table with a column twice",
            where=where,
            expected="each name once",
            was=twice[0],
            remedy="rename one of them",
        )
    return found


def _missing(name: str, names: Sequence[str], *, where: object, remedy: str) -> InputError:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    example = f" (--config.data.columns={name}={near[0]}, or columns={{...}} in Python)" if near else ""
    return InputError(
        "a table without a column that it needs",
        where=where,
        expected=f"a column {name}" + (f"; did you mean {near[0]}?" if near else ""),
        was=", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else ""),
        remedy=remedy + example,
    )


def _no_events(names: Sequence[str], where: object) -> InputError:
    return InputError(
        "a table of levels or of a feed's own actions, not of order events",
        where=where,
        expected="a column kind: ADD, CANCEL, DELETE, EXECUTE, ...",
        was=", ".join(names[:_SHOWN]),
        remedy="write levels as Tardis does (exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount) "
        "and read them with feed=tardis; write each action as the events that it is",
    )


def zone_of(name: str, *, where: str = "time_zone") -> str:
    """Return the IANA name of a time zone.

    Raises:
      InputError: there is no such zone.
    """
    try:
        return zoneinfo.ZoneInfo(name).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            "no such time zone",
            where=where,
            expected="an IANA name such as America/New_York or UTC",
            was=name,
            remedy="name the clock of the venue",
        ) from error
