"""Which calls were accepted in one term: each is performed once. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict

KEPT_IDS = 100_000  # of accepted calls; more than that, and the oldest are forgotten
SLACK_S = 1.0  # that two looks at Redis's clock differ by, on a machine that is busy
KEPT_BYTES = 16 * 1024 * 1024  # of answers; the oldest go first


class Seen:
    """Their ids, in order, and their answers while there is room for those."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._ids: OrderedDict[str, float] = OrderedDict()  # and when they were written
        self._answers: OrderedDict[str, bytes] = OrderedDict()
        self._room = kept_bytes
        self._forgotten_at = float("-inf")

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def admit(self, id: str, written_at: float) -> None:
        while len(self._ids) >= KEPT_IDS:
            oldest, at = self._ids.popitem(last=False)
            self._forgotten_at = max(at, self._forgotten_at)
            self._room += len(self._answers.pop(oldest, b""))
        self._ids[id] = written_at

    def may_have_had(self, written_at: float) -> bool:
        """Whether a call that is not here, and was written then, may have been forgotten."""
        return written_at <= self._forgotten_at + SLACK_S

    def answered(self, id: str, answer: bytes) -> None:
        if id not in self._ids:
            return
        self._room += len(self._answers.pop(id, b""))
        while self._answers and self._room < len(answer):
            self._room += len(self._answers.popitem(last=False)[1])
        if len(answer) <= self._room:
            self._room -= len(answer)
            self._answers[id] = answer

    def answer(self, id: str) -> bytes | None:
        return self._answers.get(id)
