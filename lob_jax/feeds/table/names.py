"""Find the columns of a table. This docstring is the reference for the content of a table of order events.

There is one row per event, in the order of the venue. The book starts empty, so orders that already rest come first, as
ADDs. Columns are found by name, in any order; other columns are ignored and listed in the report.

| column | required | content |
|---|---|---|
| time_ns, time_us, time_ms or time | one of them | exchange time: ns, us or ms since 1970 (UTC), or a date with a time: a datetime column, or ISO 8601 text; one without a time zone needs the setting `time_zone` |
| kind | yes | ADD, CANCEL (part of an order), DELETE (all of it), EXECUTE, EXECUTE_HIDDEN, CROSS or CONTROL, or the numbers 1 to 7 |
| side | yes | of the resting order, also for executions: bid, buy, b or 1; ask, sell, s or -1 |
| price | yes | in units of the currency: a decimal number (text, Decimal or integer), or a float64 that is the nearest double to a decimal number of at most 15 digits |
| size | yes | quantity that the event adds or removes, in the same formats; may be empty for a DELETE of all that remains |
| order_id | no | an integer, the same for an ADD and all later events of its order; without the column, each level is a single order |
| sequence | no | a non-decreasing integer; default: the row number |
| receive_ns | no | capture time, as time_ns or a datetime; 0 or empty for none |
| code | for CONTROL | HALT, RESUME_QUOTE, RESUME_TRADE, CLEAR, SESSION_OPEN, SESSION_CLOSE, FEED_GAP, or 1 to 7; side, price and size of such a row are empty or 0 |
| flags | no | sum of `Flag` values; default: every event ends its group, and the aggressor of an execution is known |
| symbol | no | default: the file name without its suffixes |
| trading_day | for several days | ISO date; default: the date of the first row, and no row may be more than a day away from it |
"""  # noqa: E501

import difflib
import zoneinfo
from collections.abc import Mapping, Sequence

from lob_jax.errors import InputError

TIMES = ("time_ns", "time_us", "time_ms", "time")
REQUIRED = ("kind", "side", "price", "size")
OPTIONAL = ("order_id", "sequence", "receive_ns", "code", "flags", "symbol", "trading_day")
NAMES = (*TIMES, *REQUIRED, *OPTIONAL)
_LEVELS = {"is_snapshot", "amount", "action", "update_type"}  # without `kind`, they indicate other data
_SHOWN = 12


def parse_columns(text: str, *, where: str = "config.data.columns") -> dict[str, str]:
    """Parse a list of column names such as "price=px,time_ns=ts" to {"price": "px", "time_ns": "ts"}.

    Raises:
      InputError: the list is malformed, or a name is not in `NAMES`.
    """
    pairs = [entry.partition("=") for entry in text.split(",") if entry.strip()]
    found = {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
    if len(found) < len(pairs) or not all(found.values()):
        raise InputError(
            "column names that cannot be parsed",
            where=where,
            expected="<our name>=<the table's name>, separated by commas, each once, such as price=px,time_ns=ts",
            was=text,
            remedy="use this format",
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
            remedy=f"did you mean {meant[0]}?" if meant else "use one of these, followed by = and the table's name",
        )


def find_columns(names: Sequence[str], called: Mapping[str, str], *, where: object) -> dict[str, str]:
    """Return the table's name of each of our columns that it has.

    Args:
      names: the table's columns.
      called: our names mapped to the table's, as given by the user.
      where: the table, for errors.

    Raises:
      InputError: a required column is missing, or the table has two columns with the name of one that is used.
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
            missing[0], names, where=where, remedy="rename the column, or map its name with the setting columns"
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
        "and read them with feed=tardis; convert each action to events",
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
            remedy="pass the time zone of the venue",
        ) from error
