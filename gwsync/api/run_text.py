"""The text of one run, put together from words that may come twice, late or not at all.

The gateway sends deltas (protocol 4) or all the words so far (protocol 3), mostly both. A delta
is appended without a look at what came before, as long as the lengths agree: a long answer
costs as much for its last word as for its first. Where they do not, words were missed, and the
cumulative text has them.
"""

from __future__ import annotations

from .run_values import RunDelta

LIVE_CAP = 500_000  # the gateway keeps that many of the newest characters while a run goes on
_PROBE = 200  # characters by which the place is found where a capped text begins


class RunText:
    """What has been said, in parts that are joined when somebody asks."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.length = 0
        self.stale = False  # words may have been missed: deltas alone cannot be placed
        self._ahead = False  # what was looked up may be newer than what comes next

    @property
    def whole(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def hear(self, words: str | None, so_far: str | None, replace: bool) -> RunDelta | None:
        """A delta event: its own words, and all the words so far, if it has them."""
        if so_far is None:
            if words is None or (self.stale and not replace):
                return None  # what comes at the end will have them
            return self.become(words) if replace else self._add(words)
        placed = words is not None and not (replace or self.stale)
        if words is not None and placed and self.length + len(words) == len(so_far):
            return self._add(words)
        if self._ahead and self.length > len(so_far) and self.whole.startswith(so_far):
            return None
        self.stale = self._ahead = False
        return self.become(so_far)

    def catch_up(self, so_far: str) -> RunDelta | None:
        """What a run is said to have said by some moment: older than what we know, perhaps."""
        known = self.whole
        if known.startswith(so_far):
            return None
        if not (self.stale or so_far.startswith(known)):
            return None
        self._ahead = True
        return self.become(so_far)

    def become(self, text: str) -> RunDelta | None:
        """From here on this is the text: the words that are new, or all if others were said."""
        known = self.whole
        if text.startswith(known):
            return self._add(text[len(known) :])
        if known.startswith(text) and known[len(text) :].isspace():
            return None  # trimmed, for now: the space is back with the next word
        new = _after_cap(known, text)
        if new is not None:
            return self._add(new)
        self._parts, self.length = [text], len(text)
        return RunDelta(text, replaces=True)

    def end(self, text: str) -> RunDelta | None:
        """This was the text; the gateway trims it."""
        delta = self.become(text)
        if delta is None and self.length > len(text) and self.whole.startswith(text):
            self._parts, self.length = [text], len(text)
        return delta

    def _add(self, words: str) -> RunDelta | None:
        if not words:
            return None
        self._parts.append(words)
        self.length += len(words)
        return RunDelta(words)


def _after_cap(known: str, text: str) -> str | None:
    """The new words of ``text`` if it is the newest part of a text too long for the gateway."""
    if len(text) < LIVE_CAP - _PROBE or len(known) < len(text) - _PROBE:
        return None
    start = known.find(text[:_PROBE])
    if start <= 0 or not text.startswith(known[start:]):
        return None
    return text[len(known) - start :]
