"""The names of a fleet's keys. The braces put all of them in one slot of a Redis cluster."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = CONSUMER = b"owner"  # one name for every owner: the next one has what the last one had
REPLY_TTL_S = 60  # after the last one, or the worker's last heartbeat


@dataclass(frozen=True)
class Keys:
    """Those of one fleet."""

    fleet: str

    def _key(self, name: str) -> str:
        return f"gwsync:{{{self.fleet}}}:{name}"

    @property
    def lease(self) -> str:
        return self._key("lease")

    @property
    def fence(self) -> str:
        return self._key("fence")

    @property
    def calls(self) -> str:
        return self._key("calls")

    @property
    def pushes(self) -> str:
        return self._key("pushes")

    @property
    def snapshot(self) -> str:
        return self._key("snapshot")

    @property
    def owner(self) -> str:
        return self._key("owner")

    @property
    def handover(self) -> str:
        return self._key("handover")

    def replies(self, worker: str) -> str:
        return self._key(f"replies:{worker}")

    def worker(self, worker: str) -> str:
        return self._key(f"worker:{worker}")
