"""What a run of the agent says, as values: deltas, events, the result. Free of I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import markup

if TYPE_CHECKING:
    from typing_extensions import Self


class RunDelta(str):
    """The words that a run said next: a string, with one thing to look at.

    ``replaces``: the model took back what it had said, and this is the whole text anew.
    It is rare; a program that prints the words as they come should start the answer again.
    """

    replaces: bool = False

    def __new__(cls, words: str, replaces: bool = False) -> Self:
        delta = super().__new__(cls, words)
        delta.replaces = replaces
        return delta


@dataclass(frozen=True)
class RunEvent:
    """One thing that happened in a run.

    ``kind``: ``text`` (``text`` has the words), ``status`` and ``lifecycle`` (``data["phase"]``),
    ``usage``, ``tool``, ``item``, ``plan``, ``thinking`` and whatever else the gateway streams
    (``data`` is its payload), ``resumed`` (the connection had been lost), and at last
    ``final`` or ``aborted``.
    """

    kind: str
    text: RunDelta = field(default_factory=lambda: RunDelta(""))
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int | None = None


@dataclass(frozen=True)
class RunResult:
    """How a run ended. ``message`` is the gateway's own, where it sent one.

    ``text`` is empty when the gateway answered within another run: a message into a session
    that is busy is taken up by the run under way, or queued behind it.
    """

    run_id: str
    session: str
    text: str
    aborted: bool = False
    stop_reason: str = ""
    usage: Mapping[str, Any] | None = None
    message: Mapping[str, Any] | None = None

    def _repr_html_(self) -> str:
        word = "aborted" if self.aborted else "ended"
        return markup.run(self.text, state_line(self.session, word, self.usage, self.run_id), False)


def state_line(
    session: str, word: str, usage: Mapping[str, Any] | None, run_id: str
) -> tuple[str, ...]:
    """What is said below the words of a run; no part is empty."""
    tokens = (usage or {}).get("outputTokens")
    used = (f"{tokens} token{'' if tokens == 1 else 's'}",) if isinstance(tokens, int) else ()
    return (session, word, *used, f"run {run_id}")
