"""What an owner says of itself, in a key that expires: see :mod:`.look`, which reads it."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..values import Status
from .keys import Keys
from .lease import Lease
from .store import RedisDown, Store
from .term import Term

TOLD_S, TTL_S = 1.0, 10


class Notice:
    """Put up anew each second while it owns the fleet."""

    def __init__(self, keys: Keys, noted: Callable[[str], None]) -> None:
        self._keys = keys
        self._noted = noted
        self._trouble = ""  # what was last said of the gateway's link
        self._told_at = -TOLD_S

    def tell(self, store: Store, name: str, lease: Lease, term: Term | None) -> None:
        now = time.monotonic()
        serving = term.serving if term is not None else None
        if term is None or serving is None or now - self._told_at < TOLD_S:
            return
        self._told_at = now
        status = term.connection.status()
        self._note(status)
        told = {
            "name": name,
            "fence": lease.fence,
            "state": status.state,
            "in_flight": len(serving.running),
            "performed": serving.performed,
            "refused": serving.refused,
            "published": term.publisher.published,
            "backlog": term.publisher.waiting,
            "sockets_opened": status.sockets_opened,
            "since": status.since or 0.0,
        }
        try:
            with store.told():
                pipeline = store.client.pipeline(transaction=True)
                pipeline.hset(self._keys.owner, mapping=told)
                pipeline.expire(self._keys.owner, TTL_S)
                pipeline.execute()
        except RedisDown:
            pass  # told again in a moment

    def _note(self, status: Status) -> None:
        """Whoever started it sees why it serves nobody: once for each reason."""
        if status.state == "connecting":
            return
        error = status.last_error if status.state != "connected" else None
        trouble = str(error) if error is not None else ""
        if trouble and trouble != self._trouble:
            self._noted(f"no link to the gateway: {trouble}")
        self._trouble = trouble
