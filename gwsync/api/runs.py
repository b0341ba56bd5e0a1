"""Run: a message to the agent and what it answers, for a caller that blocks.

The shell around :class:`RunState`: it waits for events and answers the way the calling thread
waits, and after a lost connection finds out what became of the run. Nothing happens in the
background: a run that nobody asks costs its queue. Whoever iterates drives it.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from .. import limits, markup
from ..errors import ConnectionClosed, ConnectionLost, GatewayError, RequestTimeout
from ..protocol.pending import Call
from ..runtime.native import allocate_lock
from ..runtime.waiters import make_waiter
from ..values import Event, Hello, Push, StateChange
from .run_values import RunDelta, RunEvent, RunResult, state_line

if TYPE_CHECKING:  # most programs never chat: they are imported with the first run
    from .run_queue import RunQueue
    from .run_recovery import Verdict
    from .run_resume import Resume
    from .run_state import RunState


class Caller(Protocol):
    """What a run needs of a connection."""

    def request(self, method: str, params: Mapping[str, Any], *, timeout: float | None) -> Any: ...
    def start_call(
        self, method: str, params: Mapping[str, Any], done: Callable[[], None]
    ) -> Call: ...
    def abandon(self, call: Call) -> None: ...
    def link_facts(self) -> tuple[Hello | None, float | None]: ...
    def detach(self, queue: RunQueue) -> None: ...


class Run:
    """One run of the agent, from the accepted message to its end.

    Iterate for its words as they come, each a string; :meth:`events` for everything,
    :meth:`text` and :meth:`result` for the end. Iterating again begins at the beginning. As a
    context manager it aborts the run when the block is left before the end. In a notebook it
    streams into the cell whose value it is. It goes on across lost connections. Raises
    RunError when the run fails, RequestTimeout when ``timeout`` is over. A run that is only
    followed is not aborted by any of that, but by :meth:`abort`.
    """

    def __init__(
        self,
        caller: Caller,
        queue: RunQueue,
        state: RunState,
        resume: Resume,
        *,
        method: str,
        resend: Callable[[Run], None] | None,
        deadline: float | None,
    ) -> None:
        self.accepted: Mapping[str, Any] = {}
        self._caller = caller
        self._queue = queue
        self._state = state
        self._method = method
        self._resend = resend
        self._deadline = deadline
        self._log: list[RunEvent] = []
        self._failure: GatewayError | None = None
        self._resume = resume
        self._resends = 0
        self._driven = allocate_lock()

    # -- what is known now ---------------------------------------------------------------
    @property
    def run_id(self) -> str:
        """The gateway's name for it, which is its idempotency key."""
        return self._state.run_id

    @property
    def session(self) -> str:
        return self._state.session

    @property
    def usage(self) -> Mapping[str, Any] | None:
        """Tokens, ``outputTokens``, as far as the gateway told; releases until 2026.5 tell none."""
        return self._state.usage

    @property
    def ended(self) -> bool:
        """Whether it is known to be over; a run that nobody asks learns nothing."""
        return self._state.ended or self._failure is not None

    @property
    def aborted(self) -> bool:
        """Whether it was ended on request, here or elsewhere."""
        return self._state.result is not None and self._state.result.aborted

    @property
    def so_far(self) -> str:
        """What it has said by now; never waits."""
        return self._state.text.whole

    # -- waiting for it --------------------------------------------------------------------
    def __iter__(self) -> Iterator[RunDelta]:
        for event in self.events():
            if event.kind == "text":
                yield event.text

    def events(self) -> Iterator[RunEvent]:
        """Everything that happens in the run, from its beginning until it ends."""
        at = 0
        while True:
            while at < len(self._log):
                yield self._log[at]
                at += 1
            if self.ended:
                self._raise()
                return
            self._advance()

    def text(self) -> str:
        """All that it said; waits for the end."""
        return self.result().text

    def result(self) -> RunResult:
        """How it ended; waits for that."""
        while not self.ended:
            self._advance()
        self._raise()
        if self._state.result is None:  # an ended run has one or the other
            raise ConnectionClosed(f"run {self.run_id} is over", outcome="maybe")
        return self._state.result

    def abort(self, timeout: float = limits.ABORT_TIMEOUT_S) -> bool:
        """Ask the gateway to end it; whether there was something to end.

        The words that it had said by then stay, and iterating ends with ``aborted`` true.
        """
        if self.ended:
            return False
        params = {"sessionKey": self.session, "runId": self.run_id}
        end = time.monotonic() + timeout
        while True:
            try:
                left = max(end - time.monotonic(), 0.001)
                answer = self._caller.request("chat.abort", params, timeout=left)
            except ConnectionLost:  # asking twice does no harm
                continue
            return isinstance(answer, Mapping) and answer.get("aborted") is True

    def close(self) -> None:
        """Listen no longer; the run goes on at the gateway. Idempotent."""
        self._resume.stop()
        self._queue.closed = True
        self._queue.clear()
        self._caller.detach(self._queue)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.ended and self._resend is None:
            self._fail(ConnectionClosed(f"run {self.run_id} was left", outcome="maybe"))
        if not self.ended:
            # The block's own error is the one to be told; that it could not be aborted is not.
            with contextlib.suppress(GatewayError):
                self._leave(time.monotonic() + limits.ABORT_TIMEOUT_S)
            self._fail(ConnectionClosed(f"run {self.run_id} was left", outcome="maybe"))
        self.close()

    def _leave(self, until: float) -> None:
        """Abort it, and take in its last words, which come before the answer to that."""
        if self._resend is not None and self.abort(limits.ABORT_TIMEOUT_S):
            self._deadline = until
            while not self.ended:
                self._advance()

    def __del__(self) -> None:
        # The collector may run this anywhere, also inside one of our locks: take none.
        queue = getattr(self, "_queue", None)
        if queue is not None and not queue.closed:
            queue.closed = True
            self._caller.detach(queue)

    def __repr__(self) -> str:
        return f"<gwsync.Run {self.run_id} in {self.session}: {self._word()}>"

    def _repr_html_(self) -> str:
        return markup.run(self.so_far, self._state_line(), self._failed() is not None)

    def _ipython_display_(self) -> None:
        from .run_display import show  # IPython is there already: it called this

        show(self)

    def _state_line(self) -> tuple[str, ...]:
        """Where it is and how it is, for whoever shows it."""
        return state_line(self.session, self._word(), self.usage, self.run_id)

    def _failed(self) -> GatewayError | None:
        return self._failure or self._state.error

    def _word(self) -> str:
        error = self._failed()
        if error is not None:
            return f"failed: {error.message}"
        if self._state.result is None:
            return "under way"
        return "aborted" if self.aborted else "ended"

    # -- driving it ------------------------------------------------------------------------
    def _raise(self) -> None:
        error = self._failed()
        if error is not None:
            raise error.copy()

    def _fail(self, error: GatewayError) -> None:
        if not self.ended:
            self._failure = error
        self.close()

    def _advance(self, until: float | None = None) -> None:
        """Take in what there is; wait for more, until ``until``, if there is nothing."""
        if not self._driven.acquire(False):
            make_waiter().wait(limits.RUN_SHARED_S)  # another thread does, and both shall see it
            return
        try:
            self._drive(until)
        finally:
            self._driven.release()

    def _drive(self, until: float | None) -> None:
        pushes = deque(self._queue.take())
        known, idle = len(self._log), not pushes
        try:
            while pushes:
                self._take(pushes[0])
                pushes.popleft()
        finally:
            if pushes:  # Ctrl-C: hearing one of them twice does no harm
                self._queue.put_back(pushes)
        verdict = self._resume.look(self._state, time.monotonic())
        if verdict is not None:
            self._judged(verdict)
        if self._again():
            return
        if self.ended:
            self.close()
        elif idle and len(self._log) == known:
            self._wait(until)

    def _take(self, push: Push) -> None:
        if type(push) is Event:
            if push.name in ("chat", "agent"):
                self._log += self._state.hear(push.name, push.payload)
                self._resume.heard(self._state, time.monotonic())
        elif not isinstance(push, StateChange):  # Snapshot, SeqGap, Dropped
            relinked = push.name == "snapshot"
            restarted = self._resume.begin(time.monotonic(), relinked)
            event = self._state.relinked(restarted)
            if relinked:
                self._log.append(event)

    def _judged(self, verdict: Verdict) -> None:
        state = self._state
        if verdict.state == "running":
            self._log += state.catch_up(verdict.text or "")
        elif verdict.state == "ended":
            self._log += state.complete(verdict.payload, verdict.text, verdict.cut)
        elif verdict.state == "lost":
            state.fail(
                "lost",
                "the gateway was restarted and knows nothing of the run any more",
                hint="send it again; a newer gateway may take it up by itself, in the same session",
                retryable=True,
            )

    def _again(self) -> bool:
        """A run that a restarting gateway refused before it began is sent again."""
        error = self._state.error
        if error is None or error.kind != "restarting" or error.text:
            return False
        if self._resends >= limits.RUN_RESENDS or self._failure is not None:
            return False
        resend = self._resend
        if resend is None:
            return False
        self._resends += 1
        wait = time.monotonic() + limits.RUN_RESEND_S
        if self._deadline is not None and wait >= self._deadline:
            return False
        while time.monotonic() < wait and not self._queue.ended:
            self._queue.wait(wait)
            self._queue.take()
        try:
            resend(self)
        except GatewayError as problem:
            self._fail(problem)
        return True

    def _begin(self, state: RunState, accepted: Mapping[str, Any]) -> None:
        """It was accepted under this name."""
        self._state, self.accepted = state, accepted
        self._resume.accepted(time.monotonic())
        if accepted.get("status") not in ("started", "accepted", None):
            # It has begun before, or even ended: what it said by now is to be found out.
            state.text.stale = True
            self._resume.begin(time.monotonic(), relinked=False)

    def _wait(self, until: float | None) -> None:
        queue, now = self._queue, time.monotonic()
        if queue.ended or queue.closed:
            error = queue.error or ConnectionClosed("the connection was closed", outcome="maybe")
            self._fail(error)
            return
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._too_late()
            return
        wake = [at for at in (self._deadline, self._resume.next_at, until) if at is not None]
        queue.wait(min(wake, default=None))

    def _too_late(self) -> None:
        message = f"run {self.run_id} did not end in time"
        if self._resend is not None:
            with contextlib.suppress(GatewayError):
                self.abort()
            message += " and was aborted"
        self._fail(RequestTimeout(message, method=self._method, outcome="maybe"))
