"""Sessions of units of experiments, as one server follows them; used in the event loop only."""

import asyncio
import collections
import dataclasses
import time

from lob_jax.serving.experiments.experiment import Experiment
from lob_jax.serving.experiments.results import Outcome
from lob_jax.serving.http.problems import Problem
from lob_jax.serving.market.tail import Tail

REMEMBERED = 1_000  # outcomes of a session that are known to be followed
GRACE_S = 60.0  # for which a session is remembered after its engine has closed it


@dataclasses.dataclass
class Followed:
    """A session of a unit.

    Attributes:
      session: its id, as clients know it.
      owner: the key that has opened it.
      experiment: the experiment.
      unit: the unit.
      arm: the name of the arm that answers.
      model: the name of its model.
      counted: whether the unit takes part: its requests count for its arm, and its outcomes are recorded.
      tail: its recent past; none if it is not counted.
      events: how many events it has followed.
      idle_s: after how many seconds without a request its engine closes it.
      used: when something was last asked of it, in the time of `time.monotonic`.
      ended: why it answers no more; empty while it does.
      lock: held while it follows events.
      done: digests of the outcomes that it has followed, the oldest first.
      pending: the outcome that it has followed, and that is not recorded yet.
    """

    session: str
    owner: str
    experiment: Experiment
    unit: str
    arm: str
    model: str
    counted: bool
    tail: Tail | None
    events: int
    idle_s: float
    used: float = dataclasses.field(default_factory=time.monotonic)
    ended: str = ""
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    done: collections.OrderedDict[str, str] = dataclasses.field(default_factory=collections.OrderedDict)
    pending: Outcome | None = None

    def touch(self) -> None:
        """Note that something is asked of it."""
        self.used = time.monotonic()

    def check(self) -> None:
        """Raise Problem if it answers no more."""
        if self.ended:
            raise Problem("unknown-session", self.ended)

    def end(self, why: str) -> None:
        """Let it answer no more, and forget what it has followed, which is large."""
        self.ended, self.tail, self.pending = why, None, None
        self.done.clear()

    def remember(self, outcome: str, digest: str) -> None:
        """Note that it has followed an outcome."""
        self.done[outcome] = digest
        if len(self.done) > REMEMBERED:
            self.done.popitem(last=False)


class FollowedSessions:
    """All such sessions, by id."""

    def __init__(self) -> None:
        self._sessions: dict[str, Followed] = {}
        self._swept = time.monotonic()

    def add(self, followed: Followed) -> None:
        """Begin to follow a session; forget those that have ended."""
        now = time.monotonic()
        if now - self._swept > GRACE_S:
            self._swept = now
            for name, one in list(self._sessions.items()):
                if now - one.used > one.idle_s + GRACE_S:
                    del self._sessions[name]
        self._sessions[followed.session] = followed

    def find(self, session: str, owner: str) -> Followed | None:
        """Return a session of an owner; None if it is of no unit, has ended, or is of another owner."""
        found = self._sessions.get(session)
        return found if found is not None and found.owner == owner else None

    def forget(self, session: str) -> None:
        """Forget a session that is closed."""
        self._sessions.pop(session, None)
