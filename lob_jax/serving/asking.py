"""What clients can ask, however they send it: `client` has one that waits for each answer, and one for asyncio."""

from collections.abc import Sequence
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

from lob_jax.serving.calls import Answer, Call, Record, given, new_affinity, session_path

A = TypeVar("A")  # an answer, or what is awaited to get one
F = TypeVar("F")  # the frames of a stream


class Asking(Generic[A, F]):
    """What can be asked about a market, however it is sent."""

    def _ask(self, call: Call) -> A:
        raise NotImplementedError

    def _frames(self, call: Call) -> F:
        raise NotImplementedError

    def _about(self, market: Record | None) -> tuple[Answer, str]:
        """Return the fields that name the market, and the value of the balancer's header."""
        raise NotImplementedError

    def _asked(self, path: str, market: Record | None, **fields: Any) -> Call:
        about, affinity = self._about(market)
        return Call("POST", path, {**about, **given(**fields)}, affinity)

    def predict(self, market: Record | None = None, **fields: Any) -> A:
        """Ask for the probabilities of the next event.

        Args:
          market: a history, see `history`; left out for the market of a session.
          **fields: further fields of the request's body: heads, most, moves, model, deadline_s.
        """
        return self._ask(self._asked("/v1/predict", market, **fields))

    def generate(self, market: Record | None = None, *, paths: int = 1, events: int = 100, **fields: Any) -> A:
        """Continue a market on several paths, and return them when all are complete.

        Args:
          market: as in `predict`.
          paths: how many paths.
          events: events of each.
          **fields: further fields of the request's body: seed, temperature, top_k, top_p, min_p, model, deadline_s.
        """
        return self._ask(self._asked("/v1/generate", market, paths=paths, events=events, **fields))

    def stream(self, market: Record | None = None, *, paths: int = 1, events: int = 100, **fields: Any) -> F:
        """Continue a market on several paths, and yield each event as soon as it is complete.

        The arguments are those of `generate`. The key "event" of a frame is "event", and "done" in the last one. To end
        the work of the server before, close the iterator.
        """
        return self._frames(self._asked("/v1/generate", market, paths=paths, events=events, stream=True, **fields))

    def forecast(self, market: Record | None = None, *, paths: int = 1, events: int = 100, **fields: Any) -> A:
        """Ask for quantiles over sampled paths; further fields are by, until, quantiles, and those of `generate`."""
        return self._ask(self._asked("/v1/forecast", market, paths=paths, events=events, **fields))


class Asker(Asking[A, F]):
    """What a client can ask beside that: markets come with each request."""

    def _about(self, market: Record | None) -> tuple[Answer, str]:
        if market is None:
            raise TypeError("a client needs a market: pass history(opening, events), or ask a session")
        return {"history": market}, ""

    def score(self, market: Record, **fields: Any) -> A:
        """Ask how likely each event of a history was."""
        return self._ask(self._asked("/v1/score", market, **fields))

    def models(self) -> A:
        """Ask which models there are."""
        return self._ask(Call("GET", "/v1/models"))

    def experiments(self) -> A:
        """Ask which experiments there are, and how they stand."""
        return self._ask(Call("GET", "/v1/experiments"))

    def experiment(self, name: str) -> A:
        """Ask how an experiment stands, what may be concluded from it now, and what was decided."""
        return self._ask(Call("GET", f"/v1/experiments/{quote(name, safe='')}"))


class Following(Asking[A, F]):
    """A session: the server follows a market, event by event."""

    def __init__(self, asker: Asker[A, F], market: Record, fields: Answer):
        self._asker, self.affinity = asker, new_affinity()
        self._opening = Call("POST", "/v1/sessions", {"history": market, **given(**fields)}, self.affinity, again=False)
        self.id, self.opened = "", Answer()

    def _ask(self, call: Call) -> A:
        return self._asker._ask(call)

    def _frames(self, call: Call) -> F:
        return self._asker._frames(call)

    def _about(self, market: Record | None) -> tuple[Answer, str]:
        if market is not None:
            raise TypeError("a session has its market: ask the client about another one")
        return {"session": self.id}, self.affinity

    def _begin(self, answer: Answer) -> Self:
        self.id, self.opened = answer["session"], answer
        return self

    def feed(self, events: Sequence[Record], **fields: Any) -> A:
        """Let the session follow more events, all of them or none."""
        body = {"events": list(events), **given(**fields)}
        return self._ask(Call("POST", session_path(self.id, "/events"), body, self.affinity, again=False))

    def outcome(self, outcome: str, events: Sequence[Record]) -> A:
        """Let a session of an experiment follow events that were realised, and be scored on them, all or none.

        It may be sent again after any failure, in a new session as well: it is recorded once.

        Args:
          outcome: your name of it.
          events: the events.
        """
        body = {"session": self.id, "outcome": outcome, "events": list(events)}
        return self._ask(Call("POST", "/v1/outcomes", body, self.affinity))

    def state(self) -> A:
        """Ask how the session stands."""
        return self._ask(Call("GET", session_path(self.id), None, self.affinity))

    def close(self) -> A:
        """End the session."""
        return self._ask(Call("DELETE", session_path(self.id), None, self.affinity, again=False))
