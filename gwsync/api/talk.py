"""One message on its way to becoming a run, and the run's way back to the connection.

The run's name is chosen here, the idempotency key, and its queue listens under it before
the message leaves: the first event may come before the gateway's answer does.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import limits
from ..config import UNSET, checked_timeout
from ..errors import ConfigError, RequestTimeout
from ..protocol.pending import Call
from ..values import Hello
from .attachments import encode
from .run_queue import RunQueue
from .run_resume import Resume
from .run_state import RunState
from .runs import Run

if TYPE_CHECKING:
    from .converse import Attachment, Conversing, Progress


class Served:
    """What a run needs of its connection."""

    def __init__(self, connection: Conversing, limit: float | None) -> None:
        self.deadline = None if limit is None else time.monotonic() + limit
        self._connection = connection

    def _left(self) -> float | None:
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.001)

    def request(self, method: str, params: Mapping[str, Any], *, timeout: float | None) -> Any:
        return self._connection.request(method, params, timeout=timeout)

    def start_call(self, method: str, params: Mapping[str, Any], done: Callable[[], None]) -> Call:
        connection = self._connection
        call = connection._preparer(done)(method, params)
        connection._supervise().submit([call])
        return call

    def abandon(self, call: Call) -> None:
        if call.give_up() is not None:
            self._connection._supervise().abandon([call])

    def link_facts(self) -> tuple[Hello | None, float | None]:
        """The present link's hello, and since when (monotonic) it is up."""
        status = self._connection.status()
        since = None if status.since is None else time.monotonic() - status.since
        return status.hello, since

    def detach(self, queue: RunQueue) -> None:
        self._connection._detach(queue)


class Talk(Served):
    """What sends one message, again if need be, and serves its run."""

    def __init__(
        self,
        connection: Conversing,
        method: str,
        message: Any,
        session: Any,
        thinking: str | None,
        timeout: float | None,
        key: str | None,
        params: Mapping[str, Any] | None,
    ) -> None:
        for name, value in (("message", message), ("session", session)):
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{name} must be a non-empty string, not {value!r}")
        super().__init__(connection, checked_timeout(timeout))
        self._method = method
        self._key = key
        self._params: dict[str, Any] = {"sessionKey": session, "message": message}
        if thinking is not None:
            self._params["thinking"] = thinking
        self._params.update(params or {})
        self._progress: Progress | None = None

    def start(self, attachments: Iterable[Attachment], progress: Progress | None) -> Run:
        connection = self._connection
        hello = connection.hello(UNSET if self.deadline is None else self._left())
        encoded = encode(attachments, hello.policy, connection._max_payload())
        if encoded:
            self._params["attachments"] = encoded
        self._progress = progress
        run_id = self._key or secrets.token_urlsafe(16)
        queue = RunQueue(run_id)
        run = Run(
            self,
            queue,
            RunState(run_id, self._params["sessionKey"]),
            Resume(self, queue),
            method=self._method,
            resend=self._again,
            deadline=self.deadline,
        )
        connection._supervise().add(queue, False)
        try:
            self._send(run, run_id)
        except BaseException:
            run.close()
            raise
        self._progress = None
        return run

    def _again(self, run: Run) -> None:
        run_id = secrets.token_urlsafe(16)
        run._queue.run_id = run_id
        self._send(run, run_id)

    def _send(self, run: Run, run_id: str) -> None:
        params = {**self._params, "idempotencyKey": run_id}
        answer = self._call(params)
        accepted = answer if isinstance(answer, Mapping) else {}
        run._begin(RunState(run_id, self._params["sessionKey"]), accepted)

    def _call(self, params: Mapping[str, Any]) -> Any:
        limit = self._connection._limit(UNSET)
        left = self._left()
        if limit is None or (left is not None and left < limit):
            limit = left
        if self._progress is None:
            return self._connection.request(self._method, params, timeout=limit)
        return self._watched(params, limit, self._progress)

    def _watched(self, params: Mapping[str, Any], limit: float | None, progress: Progress) -> Any:
        """The same, with a look at the bytes that have left."""
        waker = RunQueue("")
        end = None if limit is None else time.monotonic() + limit
        before = self._connection.status().bytes_out
        call = self.start_call(self._method, params, waker.wake)
        total = len(call.params)
        told = -1
        try:
            while not call.settled:
                now = time.monotonic()
                if end is not None and now >= end:
                    message = f"{self._method} was not answered in {limit:g} s"
                    raise RequestTimeout(message, method=self._method, outcome="maybe")
                sent = min(self._connection.status().bytes_out - before, total)
                if sent != told:
                    told = sent
                    progress(sent, total)
                waker.wait(now + limits.PROGRESS_EVERY_S)
        finally:
            if not call.settled:
                self.abandon(call)
        if told != total:
            progress(total, total)
        return call.value()
