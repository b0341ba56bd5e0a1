"""``chat()`` and ``agent()``, as a connection has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import limits
from ..config import UNSET, Unset

if TYPE_CHECKING:
    from pathlib import Path  # not at import: it brings six modules along

    from ..protocol.pending import Call
    from ..session.queues import Queue
    from ..session.supervisor import Supervisor
    from ..values import Hello, Status
    from .runs import Run

    Attachment = str | Path | Mapping[str, Any]
    Progress = Callable[[int, int], object]


class Conversing:
    """What a Connection offers to talk with the agent."""

    if TYPE_CHECKING:

        def request(
            self,
            method: str,
            params: Mapping[str, Any] | None = None,
            *,
            timeout: float | Unset | None = UNSET,
        ) -> Any: ...
        def hello(self, timeout: float | Unset | None = UNSET) -> Hello: ...

        def status(self) -> Status: ...

        def _supervise(self) -> Supervisor: ...

        def _max_payload(self) -> int: ...
        def _preparer(self, done: Callable[[], None]) -> Callable[..., Call]: ...

        def _limit(self, timeout: float | Unset | None) -> float | None: ...

        def _detach(self, queue: Queue) -> None: ...

    def chat(
        self,
        message: str,
        session: str = "main",
        *,
        attachments: Iterable[Attachment] = (),
        thinking: str | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        progress: Progress | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Run:
        """Say something to the agent; iterate the answer for its words as they come.

        Returns once the gateway has accepted the message. ``session``: a name or a full key;
        one run at a time, a message into a busy one becomes part of the run under way.
        ``attachments``: paths, or mappings with fileName, mimeType and content.
        ``thinking``: the level. ``timeout``: seconds for the whole run, which is then
        aborted. ``progress``: called with bytes sent and bytes in all while a large message
        leaves. ``params``: further ones of ``chat.send``, by their wire names.

        Raises what ``request`` raises, PayloadTooLarge for an attachment, and from the run
        RunError when it fails.
        """
        from .talk import Talk

        return Talk(
            self, "chat.send", message, session, thinking, timeout, idempotency_key, params
        ).start(attachments, progress)

    def agent(
        self,
        message: str,
        session: str = "main",
        *,
        attachments: Iterable[Attachment] = (),
        thinking: str | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        progress: Progress | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Run:
        """Have the agent do something, without the chat around it: gateway method ``agent``.

        As :meth:`chat`; ``run.accepted`` is the gateway's first answer, and ``params`` are
        further ones of ``agent``: deliver, extraSystemPrompt, lane ...
        """
        from .talk import Talk

        return Talk(
            self, "agent", message, session, thinking, timeout, idempotency_key, params
        ).start(attachments, progress)

    def follow(
        self,
        run_id: str,
        session: str | None = None,
        *,
        timeout: float | None = None,
        patience: float = limits.FOLLOW_S,
    ) -> Run:
        """A run that somebody else began, by its id: what it has said so far, and what comes.

        ``session``: its name or key; without it the gateway's recent sessions are looked
        through. One that has ended gives its result. ``timeout``: seconds until it must have
        ended; it is not aborted then. ``patience``: seconds in which it must be found.

        Raises RunError with kind ``not_found`` for a run that the gateway does not know.
        """
        from .follow import Following

        return Following(self, run_id, session, timeout, patience).start()
