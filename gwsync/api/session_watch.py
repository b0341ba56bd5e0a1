"""Changes of sessions, kept true across reconnects, losses and races.

The gateway tells of changes (``sessions.changed``) on the connection that asked it to, and
forgets that with the socket. So: subscribe, list, then apply what is told; list again when a
link is new or something was lost, and tell the differences only. What was told before the list
was made may be older or newer than it: the two carry the time at which the gateway looked, and
where that does not decide, the list is fetched again once nothing else waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ..errors import (
    ConnectionClosed,
    ConnectionLost,
    DialError,
    GatewayError,
    ProtocolError,
    RequestError,
    RequestTimeout,
)
from ..values import Dropped, Event, Push, SeqGap, Snapshot
from .caller import Caller, Timeout
from .session_rows import SessionChange, SessionRow, rows_of, session_row

# `tick` comes every 30 s: time for another try, and to look at gateways that tell nothing.
EVENTS = ("sessions.changed", "tick")
AT_ONCE = 10_000  # sessions in one list: no page may slip while another is fetched
DOUBT_MS = 2_000  # what the gateway looked at longer before its list is surely in it


class SessionWatch:
    """An iterator of :class:`SessionChange`; a context manager that ends it.

    ``rows``: the sessions by key, as of the change that was given last.
    """

    def __init__(self, caller: Caller, agent: str | None, timeout: Timeout) -> None:
        self.rows: dict[str, SessionRow] = {}
        self._caller = caller
        self._agent = agent
        self._timeout = timeout
        self._held: dict[str, SessionRow] = {}  # as of everything that was heard
        self._stamps: dict[str, float] = {}  # when the gateway looked at each, its ms
        self._listed_at = 0.0
        self._listed = False
        self._doubt = False
        self._told = True  # whether this gateway tells of changes
        self._changes: deque[SessionChange] = deque()
        self._pushes = caller.pushes(*EVENTS, on_full="block")

    def __iter__(self) -> SessionWatch:
        return self

    def __next__(self) -> SessionChange:
        while not self._changes:
            if self._doubt and not self._pushes.waiting:
                self._look()
            else:
                self._take(next(self._pushes))
        change = self._changes.popleft()
        if change.kind == "removed":
            self.rows.pop(change.key, None)
        else:
            self.rows[change.key] = change.row
        return change

    def close(self) -> None:
        """End the iteration, also one that waits in another thread. Idempotent."""
        self._pushes.close()

    def __enter__(self) -> SessionWatch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- what is told -----------------------------------------------------------------------
    def _take(self, push: Push) -> None:
        if isinstance(push, Snapshot):
            self._told = True  # another link, perhaps to another release
            self._doubt = True
        elif isinstance(push, (SeqGap, Dropped)):
            self._doubt = True
        elif isinstance(push, Event):
            self._event(push)

    def _event(self, event: Event) -> None:
        if event.name != "sessions.changed":
            self._doubt = self._doubt or not self._told
            return
        try:
            payload = event.payload
        except ProtocolError:
            self._doubt = True  # a change that nobody can read
        else:
            self._apply(payload)

    def _apply(self, payload: Any) -> None:
        if not self._listed or not isinstance(payload, Mapping):
            return  # the list that is to come has it
        reason = str(payload.get("reason") or payload.get("phase") or "")
        told = payload.get("session")
        row = session_row(told if isinstance(told, Mapping) and told.get("key") else payload)
        if row is None:
            return  # of no single session: groups, people
        gone = payload.get("reason") == "delete" and not isinstance(told, Mapping)
        stamp = _number(row.raw.get("snapshotAt")) or _number(payload.get("ts"))
        held_at = self._stamps.get(row.key, self._listed_at)
        if stamp > held_at or not stamp:
            self._set(row.key, None if gone or not self._shown(row) else row, reason)
            self._stamps[row.key] = stamp
        elif stamp > held_at - DOUBT_MS and self._differs(row, gone):
            self._doubt = True

    def _differs(self, row: SessionRow, gone: bool) -> bool:
        held = self._held.get(row.key)
        return held is not None if gone or not self._shown(row) else held != row

    def _shown(self, row: SessionRow) -> bool:
        return not row.archived and self._agent in (None, row.agent_id)

    # -- what is found by looking -----------------------------------------------------------
    def _look(self) -> None:
        self._doubt = False
        try:
            self._told = self._subscribe()
            params: dict[str, Any] = {
                "limit": AT_ONCE,
                "includeGlobal": True,
                "includeUnknown": True,
            }
            if self._agent is not None:
                params["agentId"] = self._agent
            answer = self._caller.request("sessions.list", params, timeout=self._timeout)
        except GatewayError as error:
            if not _may_pass(error):
                raise
            self._doubt = True  # there will be another link, a tick, or the end
            self._take(next(self._pushes))
            return
        self._reconcile(answer if isinstance(answer, Mapping) else {})

    def _subscribe(self) -> bool:
        """Whether the gateway will tell; older ones (2026.2) cannot, and are looked at."""
        try:
            self._caller.request("sessions.subscribe", {}, timeout=self._timeout)
        except RequestError as error:
            if error.outcome != "rejected" or error.retryable:
                raise
            return False
        return True

    def _reconcile(self, answer: Mapping[str, Any]) -> None:
        first, self._listed = not self._listed, True
        self._listed_at = _number(answer.get("ts"))
        listed = [row for row in rows_of(answer.get("sessions")) if self._shown(row)]
        there = {row.key for row in listed}
        self._stamps = {}
        unseen = [] if answer.get("hasMore") is True else [*self._held.keys() - there]
        for key in unseen:
            self._set(key, None, "list")
        for row in reversed(listed):  # the most recent last, as they would have been told
            self._stamps[row.key] = _number(row.raw.get("snapshotAt")) or self._listed_at
            self._set(row.key, row, "list", first)

    def _set(self, key: str, row: SessionRow | None, reason: str, first: bool = False) -> None:
        before = self._held.get(key)
        if row == before:
            return
        if row is None:
            if before is not None:
                del self._held[key]
                self._changes.append(SessionChange("removed", before, before, reason))
            return
        self._held[key] = row
        kind = "changed" if before is not None else "listed" if first else "added"
        self._changes.append(SessionChange(kind, row, before, reason))  # type: ignore[arg-type]


def _may_pass(error: GatewayError) -> bool:
    if isinstance(error, RequestError):
        return error.retryable is True
    return isinstance(error, (ConnectionClosed, ConnectionLost, DialError, RequestTimeout))


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
