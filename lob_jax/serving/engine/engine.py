"""`Engine`: many requests at once on one model.

One thread does the work, turn by turn: it gives each request that can go on a turn, one after another, then reads one
token in all rows together. Long work that needs neither rows nor sessions is done in a second thread.
"""

import collections
import concurrent.futures
import logging
import threading
import time
from typing import Any

from lob_jax.errors import InputError
from lob_jax.export.reference.reference import Reference
from lob_jax.serving.config import EngineConfig
from lob_jax.serving.engine.ahead import go_ahead
from lob_jax.serving.engine.courses import Served, Work, course_of
from lob_jax.serving.engine.jobs import RELEASE, TURN, Aside, Job, Rows, Step
from lob_jax.serving.engine.rows import RowPool
from lob_jax.serving.engine.sessions import Session, Sessions
from lob_jax.serving.requests import (
    Busy,
    Cancelled,
    Close,
    Deliver,
    Feed,
    Leaving,
    Load,
    Look,
    ModelFacts,
    Refusal,
    Request,
)
from lob_jax.serving.tally import ROWS, STEP_S, Tally

_LOG = logging.getLogger(__name__)
_QUICK = (Feed, Look, Close)  # they need no rows, and do not wait behind requests that do
TURNS = 2  # of requests that are not quick, between two steps of rows
RETRY_S = 1.0  # after which the queue may have room
PATIENCE_S = 0.2  # between two looks at deadlines, where nothing else is to be done
ENDING_S = 5.0  # for the engine's threads to end


class Engine:
    """Answers requests on one model; all methods are safe from any thread.

    Attributes:
      facts: what clients may know of the model.
    """

    def __init__(self, served: Served, facts: ModelFacts, settings: EngineConfig) -> None:
        """Start the engine.

        Args:
          served: the model.
          facts: what clients may know of it.
          settings: how the engine works.
        """
        self.facts, self._settings = facts, settings
        self._pool = RowPool(served.network, rows=settings.rows)
        self._sessions = Sessions(settings)
        most = max(settings.rows // 2, 1)  # so that no request has all of them
        self._work = Work(served, self._sessions, settings.idle_s, most)
        self._waiting: collections.deque[Job] = collections.deque()
        self._active: list[Job] = []
        self._wake, self._ready, self._leaving, self._ended = threading.Condition(), False, False, False
        self._tokens = self._events = 0
        self._step_rows, self._step_s = Tally(ROWS), Tally(STEP_S)
        self._aside = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="lob_jax-aside")
        self._thread = threading.Thread(target=self._run, name="lob_jax-engine", daemon=True)
        self._thread.start()

    @property
    def reference(self) -> Reference | None:
        """Return what live events are compared with; None if that is not known."""
        return self._work.served.contents.reference

    @property
    def ready(self) -> bool:
        """Return whether the engine is warm and takes requests."""
        return self._ready and not self._leaving and self._thread.is_alive()

    def set_ready(self) -> None:
        """Say that the engine is warm."""
        self._ready = True

    def submit(self, request: Request, deliver: Deliver, *, deadline_s: float | None = None) -> Job:
        """Begin to answer a request, see `lob_jax.serving.requests.Server`."""
        seconds = self._settings.deadline_s if deadline_s is None else deadline_s
        job = Job(request, deliver, deadline=time.monotonic() + seconds)
        with self._wake:
            if self._leaving:
                raise Leaving("the server is about to end")
            if len(self._waiting) >= self._settings.queue and not isinstance(request, _QUICK):
                raise Busy(f"{len(self._waiting)} requests are waiting already", retry_after_s=RETRY_S)
            self._waiting.append(job)
            self._wake.notify()
        return job

    def load(self) -> Load:
        """Return what the engine is doing."""
        counts = len(self._waiting), len(self._sessions), self._tokens, self._events
        steps = self._step_rows.read(), self._step_s.read()
        return Load(self._pool.used, self._settings.rows, *counts, self._settings.queue, *steps)

    def drain(self, seconds: float) -> None:
        """Take no more requests, wait until those at work are done, or so long, and end the engine's threads."""
        with self._wake:
            self._leaving = True
        until = time.monotonic() + seconds
        while (self._waiting or self._active) and time.monotonic() < until and self._thread.is_alive():
            time.sleep(0.01)
        with self._wake:
            self._ended = True
            self._wake.notify()
        self._thread.join(ENDING_S)
        self._aside.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        """Do all turns until the engine ends."""
        while not self._ended:
            with self._wake:
                idle = not self._waiting and not any(self._can_go_on(job) for job in self._active)
                fed = self._sessions.fed if idle else None
                if idle and fed is None:
                    self._wake.wait(PATIENCE_S)
            try:
                if fed is not None:
                    self._go_ahead(fed)
                self._turn()
            except Exception as error:  # the thread goes on: without it, every request would hang
                _LOG.exception("the engine has failed")
                for job in list(self._active):
                    self._end(job, error=error)
        for job in [*self._active, *self._waiting]:
            self._end(job, error=Cancelled("the server has ended"))

    def _go_ahead(self, session: Session) -> None:
        """Do a part of what a session will probably need."""
        more = False
        try:
            more = go_ahead(session, self._work.served)
        except Exception:  # a fault of no request: none that is at work ends by it, and it is not tried again
            _LOG.exception("what was to be done ahead has failed")
        if not more:
            self._sessions.note_done(session)

    def _can_go_on(self, job: Job) -> bool:
        """Return whether a job needs nothing that comes from elsewhere."""
        demand = job.demand
        if isinstance(demand, Rows):
            return demand.count <= self._pool.free
        return not isinstance(demand, Aside) or job.ready

    def _turn(self) -> None:
        """Give every job that can go on a turn, and read a token in all rows."""
        self._give_up()
        self._admit()
        self._grant()
        for job in self._next_turns():
            self._go_on(job)
        self._step()

    def _next_turns(self) -> list[Job]:
        """Return the jobs that have a turn now: while rows are at work, not all that read, since rows would wait."""
        able = [job for job in self._active if job.ready and not isinstance(job.demand, Step)]
        quick = [job for job in able if isinstance(job.request, _QUICK)]
        slow = [job for job in able if not isinstance(job.request, _QUICK)]
        if self._pool.used and len(slow) > TURNS:
            slow = slow[:TURNS]
            for job in slow:  # the others come first the next time
                self._active.remove(job)
                self._active.append(job)
        return quick + slow

    def _give_up(self) -> None:
        """End the jobs that are cancelled or late."""
        for job in [*self._active, *self._waiting]:
            if error := job.lost:
                self._end(job, error=error)

    def _admit(self) -> None:
        """Begin waiting jobs: quick ones always, others while there are fewer than rows."""
        with self._wake:
            waiting = list(self._waiting)
        room = self._settings.rows - sum(not isinstance(job.request, _QUICK) for job in self._active)
        for job in waiting:
            if isinstance(job.request, _QUICK) or room > 0:
                room -= not isinstance(job.request, _QUICK)
                self._waiting.remove(job)
                job.clock("queued")
                job.course = self._course_of(job)
                self._active.append(job)

    def _course_of(self, job: Job) -> Any:
        def tell(events: list) -> None:
            self._events += len(events)
            job.deliver(events)

        return course_of(
            job.request, self._work, fill=lambda path, context: self._pool.fill(job, path, context), tell=tell
        )

    def _grant(self) -> None:
        """Give free rows to the jobs that wait for them, the first one first."""
        for job in list(self._active):
            if isinstance(job.demand, Rows) and not job.ready:
                if job.demand.count > self._pool.free:
                    return
                self._pool.grant(job, job.demand.count)
                job.ready = True
                self._go_on(job)  # at once: nothing may happen between the grant and the first step

    def _go_on(self, job: Job) -> None:
        """Resume the course of a job until its next demand."""
        assert job.course is not None
        answer, failure, job.answer, job.failure = job.answer, job.failure, None, None
        try:
            demand = job.course.send(answer) if failure is None else job.course.throw(failure)
            while demand == RELEASE:
                self._pool.release(job)
                demand = job.course.send(None)
        except StopIteration as end:
            job.clock("worked")
            self._end(job, result=end.value)
            return
        except (InputError, Refusal) as error:
            self._end(job, error=error.with_traceback(None))  # which would keep the market as long as the error
            return
        except Exception as error:  # a fault of this request alone
            _LOG.exception("a request has failed")
            self._end(job, error=error)
            return
        job.demand, job.ready = demand, demand is TURN or isinstance(demand, Step)
        if isinstance(demand, Aside):
            self._aside.submit(self._do_aside, job, demand)

    def _do_aside(self, job: Job, demand: Aside) -> None:
        """Do the work of a job in the second thread, and let the engine resume it."""
        if job.over:  # given up while it waited: others wait behind it
            return
        try:
            job.answer = demand.work()
        except Exception as error:
            job.failure = error  # raised where the course waits
        with self._wake:
            job.ready = True
            self._wake.notify()

    def _step(self) -> None:
        """Read a token in every row, and resume the courses whose rows they are."""
        stepping = {job: job.demand.inputs for job in self._active if isinstance(job.demand, Step)}
        if not stepping:
            return
        began = time.monotonic()
        try:
            logits = self._pool.step(stepping)
        except Exception as error:  # a fault of the requests that share the step, and of no others
            _LOG.exception("the network has failed")
            for job in stepping:
                self._end(job, error=error)
            return
        self._tokens += self._pool.used
        self._step_rows.add(self._pool.used)
        self._step_s.add(time.monotonic() - began)
        for job in stepping:
            job.answer = logits[job]
            self._go_on(job)

    def _end(self, job: Job, *, result: Any = None, error: Exception | None = None) -> None:
        """Deliver the last item of a job, and give its rows back."""
        self._pool.release(job)
        if job in self._active:
            self._active.remove(job)
        elif job in self._waiting:
            self._waiting.remove(job)
        if job.course is not None:
            job.course.close()
        if error is None:
            job.finish(result)
        else:
            job.fail(error)
