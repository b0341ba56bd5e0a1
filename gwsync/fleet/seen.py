"""Which calls were accepted: each is performed once. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict

from .messages import WINDOW_S

KEPT_IDS = 100_000  # of accepted calls; more in a window is a flood, and the oldest go


class Seen:
    """The ids of accepted calls, with their answers while there is room for those."""

    def __init__(self, kept_bytes: int = 16 * 1024 * 1024) -> None:
        self._ids: OrderedDict[str, tuple[float, bytes | None]] = OrderedDict()
        self._room = kept_bytes

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def admit(self, id: str, now: float) -> None:
        while self._ids:
            oldest, (at, answer) = next(iter(self._ids.items()))
            # twice the window: it may have come from its future end
            if len(self._ids) < KEPT_IDS and now - at < 2 * WINDOW_S:
                break
            del self._ids[oldest]
            self._room += len(answer or b"")
        self._ids[id] = now, None

    def answered(self, id: str, answer: bytes) -> None:
        if id in self._ids and len(answer) <= self._room:
            self._room -= len(answer)
            self._ids[id] = self._ids[id][0], answer

    def answer(self, id: str) -> bytes | None:
        return self._ids[id][1]
