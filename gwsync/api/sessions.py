"""``gwsync.sessions``: the gateway's sessions, and what was said in them.

Methods of the gateway: sessions.list, .create, .patch, .reset, .delete, .subscribe and
chat.history. Names and values of parameters are the gateway's, in Python's spelling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ..config import UNSET
from ..errors import ConfigError, ProtocolError
from .caller import Timeout, Who
from .session_rows import (
    HistoryMessage,
    SessionChange,
    SessionList,
    SessionRow,
    message,
    rows_of,
    session_row,
    written_row,
)
from .session_watch import SessionWatch

__all__ = ["HistoryMessage", "SessionChange", "SessionList", "SessionRow", "SessionWatch"]

PAGE = 100  # messages asked for at a time
MOST = 1000  # that the gateway gives at a time


class Sessions:
    """Sessions of the gateway: ``gwsync.sessions``, or ``connection.sessions``.

    A session's ``key`` may be short (``"main"``) or whole (``"agent:main:main"``). All raise
    what ``request`` does.
    """

    def __init__(self, who: Who) -> None:
        self._who = who

    def list(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        agent: str | None = None,
        search: str | None = None,
        archived: bool | None = None,
        timeout: Timeout = UNSET,
    ) -> SessionList:
        """The sessions, the most recently used first; a table in notebooks.

        ``limit`` and ``offset``: a page (the gateway's own limit is 100). ``search``: in
        keys, labels and models. ``archived``: those that are archived, instead of the others.
        """
        params = {
            "limit": limit,
            "offset": offset,
            "agentId": agent,
            "search": search,
            "archived": archived or None,
        }
        payload = self._ask("sessions.list", params, timeout)
        found = SessionList(rows_of(payload.get("sessions")))
        total = payload.get("totalCount", payload.get("count"))
        found.total = total if isinstance(total, int) else len(found)
        found.more = payload.get("hasMore") is True
        return found

    def get(self, key: str, *, timeout: Timeout = UNSET) -> SessionRow | None:
        """One session, or None if there is none. Needs a gateway of 2026.5 or newer."""
        return session_row(self._ask("sessions.describe", {"key": key}, timeout).get("session"))

    def watch(self, *, agent: str | None = None, timeout: Timeout = UNSET) -> SessionWatch:
        """Changes of sessions as they happen, beginning with the sessions there are.

        An iterator, and a context manager that ends it; ``.rows`` has every session as of
        the change given last. It stays true: the gateway is asked to tell of changes first
        and for its list second, again after each reconnect and each loss, and only
        differences are told. ``timeout``: for each look. Ends when the connection is closed,
        raises the error when it is parked. Archived sessions count as removed.
        """
        return SessionWatch(self._who(), agent, timeout)

    def history(
        self,
        key: str = "main",
        *,
        limit: int | None = None,
        page: int = PAGE,
        max_chars: int | None = None,
        timeout: Timeout = UNSET,
    ) -> Iterator[HistoryMessage]:
        """The messages of a session, the newest first, fetched ``page`` at a time.

        What is said meanwhile moves no message out of sight and shows none twice.
        ``limit``: stop after so many. ``max_chars``: the longest message that is given whole.
        """
        if not 1 <= page <= MOST:
            raise ConfigError(f"page must be 1 to {MOST}, not {page}")
        return islice(self._messages(key, page, max_chars, timeout), limit)

    def create(
        self,
        key: str | None = None,
        *,
        idempotency_key: str | None = None,
        timeout: Timeout = UNSET,
        **fields: Any,
    ) -> SessionRow:
        """A new session; one that is there already is given back as it is.

        Without a ``key`` the gateway makes one. ``fields`` are those of ``sessions.create``:
        ``label``, ``model``, ``agent_id``, ``parent_session_key``, ``message``, ...
        """
        params = {"key": key, **_wire(fields)}
        answer = self._ask("sessions.create", params, timeout, idempotency_key)
        return written_row(answer)

    def patch(self, key: str, *, timeout: Timeout = UNSET, **fields: Any) -> SessionRow:
        """Change a session; None takes a value away. The gateway makes one that is missing.

        ``fields`` are those of ``sessions.patch``: ``label``, ``pinned``, ``archived``,
        ``model``, ``thinking_level``, ...
        """
        changes = _wire(fields)
        if "archived" in changes and "expectedSessionId" not in changes:
            row = self.get(key, timeout=timeout)  # the gateway wants to know which is meant
            if row is not None:
                changes["expectedSessionId"] = row.session_id
        params = {"key": key, **changes}
        return written_row(self._ask("sessions.patch", params, timeout, keep_none=True))

    def reset(self, key: str, *, timeout: Timeout = UNSET) -> SessionRow:
        """Begin anew: the session stays, what was said is put away. Needs operator.admin."""
        return written_row(self._ask("sessions.reset", {"key": key}, timeout))

    def delete(
        self, key: str, *, delete_transcript: bool | None = None, timeout: Timeout = UNSET
    ) -> bool:
        """Delete a session; False if there was none. Needs operator.admin.

        ``delete_transcript=False`` keeps what was said where it is.
        """
        params = {"key": key, "deleteTranscript": delete_transcript}
        return self._ask("sessions.delete", params, timeout).get("deleted") is True

    # -- inside ---------------------------------------------------------------------------
    def _ask(
        self,
        method: str,
        params: Mapping[str, Any],
        timeout: Timeout,
        idempotency_key: str | None = None,
        *,
        keep_none: bool = False,
    ) -> Mapping[str, Any]:
        given = {name: value for name, value in params.items() if keep_none or value is not None}
        answer = self._who().request(
            method, given, timeout=timeout, idempotency_key=idempotency_key
        )
        if not isinstance(answer, Mapping):
            raise ProtocolError(f"{method} was answered with no object")
        return answer

    def _messages(
        self, key: str, page: int, max_chars: int | None, timeout: Timeout
    ) -> Iterator[HistoryMessage]:
        seen: set[str] = set()
        params: dict[str, Any] = {"sessionKey": key, "limit": page, "maxChars": max_chars}
        while True:
            answer = self._ask("chat.history", params, timeout)
            entries = [one for one in answer.get("messages") or [] if isinstance(one, Mapping)]
            for entry in reversed(entries):
                found = message(entry)
                if not found.id or found.id not in seen:
                    seen.add(found.id)
                    yield found
            # Counted from the end, which moves on: what is seen again is left out above.
            if answer.get("hasMore") is True and isinstance(answer.get("nextOffset"), int):
                params["offset"] = answer["nextOffset"]
            elif "hasMore" not in answer and page <= len(entries) and params["limit"] < MOST:
                params["limit"] = MOST  # releases before 2026.7 have no pages
            else:
                return


def _wire(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Python's names as the gateway's: ``thinking_level`` is ``thinkingLevel``."""
    return {_camel(name): value for name, value in fields.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
