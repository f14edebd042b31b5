"""Sessions: markets that an engine follows for its clients."""

import dataclasses
import secrets
import time

from lob_jax.serving.config import EngineConfig
from lob_jax.serving.engine.ahead import NextEvent, Wanted
from lob_jax.serving.engine.context import MarketContext
from lob_jax.serving.market.market import LiveMarket
from lob_jax.serving.requests import Busy, InSession, SessionState, Unknown

RETRY_S = 5.0  # after which there may be room for another session


@dataclasses.dataclass(eq=False)
class Session:
    """A market that is followed.

    Attributes:
      name: its id, which cannot be guessed.
      owner: whose it is.
      market: the market.
      context: what the network has read of it.
      used: when it was last used, on the monotonic clock.
      asked: the prediction that was last asked for since it was fed; None for none.
      wanted: the one that is to be made ahead: that of the last time.
      ahead: the prediction after what it has followed; None if nothing of it is made.
    """

    name: str
    owner: str
    market: LiveMarket
    context: MarketContext
    used: float
    asked: Wanted | None = None
    wanted: Wanted | None = None
    ahead: NextEvent | None = None

    def forget_prediction(self) -> None:
        """Give up what was predicted, since there is more to predict from; it is wanted again if it was asked for."""
        self.asked, self.wanted, self.ahead = None, self.asked, None

    def state(self, *, idle_s: float) -> SessionState:
        """Return how the session stands."""
        market = self.market
        left = max(self.used + idle_s - time.monotonic(), 0.0)
        return SessionState(
            self.name, market.events, market.time_ns, market.bid, market.ask, market.closed, self.context.length, left
        )


class Sessions:
    """The sessions of an engine."""

    def __init__(self, settings: EngineConfig) -> None:
        self._settings = settings
        self._open: dict[str, Session] = {}
        self._fed: dict[str, None] = {}  # names of sessions for which something can be done ahead, the latest last

    def __len__(self) -> int:
        return len(self._open)

    def check_room(self, owner: str) -> None:
        """Check that an owner may open another session.

        Raises:
          Busy: there are as many as there may be.
        """
        self.expire()
        own, settings = sum(session.owner == owner for session in self._open.values()), self._settings
        if own >= settings.sessions_per_owner:
            raise Busy(f"{own} sessions are open, as many as there may be: close one", retry_after_s=RETRY_S)
        if len(self._open) >= settings.sessions:
            raise Busy("there is no room for another session", retry_after_s=RETRY_S)

    def open(self, owner: str, market: LiveMarket, context: MarketContext) -> Session:
        """Keep a market as a session of an owner; raise as `check_room`."""
        self.check_room(owner)
        session = Session(secrets.token_urlsafe(18), owner, market, context, time.monotonic())
        self._open[session.name] = session
        return session

    def find(self, which: InSession) -> Session:
        """Return a session, which has been used now.

        Raises:
          Unknown: there is none of this owner.
        """
        self.expire()
        session = self._open.get(which.session)
        if session is None or session.owner != which.owner:
            raise Unknown("there is no such session: it was closed, has not been used for long, or never was")
        session.used = time.monotonic()
        return session

    def close(self, which: InSession) -> Session:
        """End a session; raise as `find`."""
        session = self.find(which)
        self._forget(session.name)
        return session

    @property
    def fed(self) -> Session | None:
        """Return the session that was fed last, of those for which something can be done ahead."""
        return self._open[next(reversed(self._fed))] if self._fed else None

    def note_fed(self, session: Session) -> None:
        """Note that something can be done ahead for a session."""
        self._fed.pop(session.name, None)
        if session.name in self._open:  # it may have been closed while its events were read
            self._fed[session.name] = None

    def note_done(self, session: Session) -> None:
        """Note that nothing is left to do ahead for a session."""
        del self._fed[session.name]

    def expire(self) -> None:
        """End the sessions that have not been used for too long."""
        before = time.monotonic() - self._settings.idle_s
        for name in [name for name, session in self._open.items() if session.used < before]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        del self._open[name]
        self._fed.pop(name, None)  # an engine that is never idle would not get round to it
