"""The prediction of a session's next event, made while the engine is idle, before it is asked for.

A session whose last events were followed by a prediction will probably be asked for another one after its next events.
What is made ahead is what would be answered then, to the last bit; it is given up when the session follows more.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from lob_jax.errors import InputError
from lob_jax.generation.host.context import Inputs
from lob_jax.serving.engine.context import MOST_TOKENS, MarketContext, Trials
from lob_jax.serving.predict.prediction import predicted
from lob_jax.serving.requests import Prediction

if TYPE_CHECKING:
    from lob_jax.serving.engine.courses import Place, Served
    from lob_jax.serving.engine.sessions import Session


class Wanted(NamedTuple):
    """What a prediction says, see `lob_jax.serving.requests.Predict`."""

    heads: int
    most: int


class NextEvent:
    """A prediction that is made a pass of the network at a time.

    Attributes:
      wanted: what it says.
    """

    def __init__(self, asked: Generator[Inputs, Any, Prediction], context: MarketContext, wanted: Wanted) -> None:
        """Begin a prediction.

        Args:
          asked: the coroutine that makes it, see `lob_jax.serving.predict.prediction.predicted`.
          context: the context of the market, to which nothing may be added meanwhile; all has been read.
          wanted: what it says.
        """
        self.wanted = wanted
        self._passes, self._made = _passes(asked, context), None

    def step(self) -> bool:
        """Let the network do a pass, and return True; return False when nothing is left to do."""
        try:
            next(self._passes)
        except StopIteration as end:
            self._made = self._made or end.value
        return self._made is None

    def complete(self) -> Prediction:
        """Do what is left to do, and return the prediction."""
        while self.step():
            pass
        assert self._made is not None
        return self._made


def _passes(asked: Generator[Inputs, Any, Prediction], context: MarketContext) -> Generator[None, None, Prediction]:
    """Let the network read what a coroutine asks for, a pass with each step, and return its result."""
    trials, logits_BV = Trials(context), None
    while True:
        try:
            inputs = asked.send(logits_BV)
        except StopIteration as end:
            return end.value
        logits_BV = trials.read(inputs)
        yield


def begun(place: "Place", wanted: Wanted, served: "Served") -> NextEvent:
    """Return the prediction of a market of which all has been read; nothing of it is made yet."""
    how = {"model": served.contents.model, "tokenizer": served.tokenizer, "instrument": place.market.instrument}
    logits_V = place.context.next_logits_V
    asked = predicted(place.market.prompt(), logits_V, heads=wanted.heads, most=wanted.most, **how)
    return NextEvent(asked, place.context, wanted)


def of_session(session: "Session", wanted: Wanted, served: "Served") -> Prediction:
    """Return the prediction of a session, which may have been made ahead, in part or completely."""
    made = session.ahead
    session.asked, session.ahead = wanted, None
    if made is None or made.wanted != wanted:
        made = begun(session, wanted, served)
    prediction = made.complete()
    session.ahead = made
    return prediction


def go_ahead(session: "Session", served: "Served") -> bool:
    """Let the network read a block of what a session was fed or, after that, do a pass for its next prediction.

    Returns:
      Whether something may be left to do.
    """
    context = session.context
    if context.logits_V is None:
        return next(context.read(), False) is None
    wanted, made, session.ahead = session.wanted, session.ahead, None
    if wanted is None or not context.has_room(MOST_TOKENS):
        return False
    try:
        made = made or begun(session, wanted, served)
        more = made.step()
    except InputError:  # which whoever asks for the prediction is told
        return False
    session.ahead = made
    return more
