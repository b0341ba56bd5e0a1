"""A caller's own write: another call that is before it, seen at the last moment, goes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gwsync.protocol.conversation import Conversation
from gwsync.protocol.pending import Call
from gwsync.session.calls import Calls
from unit.protocol import scene
from unit.transport.test_link_direct import Pair


class Hub:
    """As much of a hub thread as is asked."""

    idle = True


class Bench:
    """Calls on an open link, whose hub may do something right before a caller has the turn."""

    def __init__(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.hub, self.writer = Calls(), Hub(), pair.writer
        self.conversation: Conversation = scene.opened()
        self.calls.opened(pair.link, self.conversation)
        self.before: Callable[[], Any] = lambda: None
        begin = self.writer.begin

        def late(parcel: Call) -> bool:
            self.before()
            return begin(parcel)

        monkeypatch.setattr(self.writer, "begin", late)

    def write(self) -> tuple[bool, bool]:
        """Whether a call was written by its caller, and whether it has been handed over."""
        call = Call("health", b"{}")
        written = self.calls.write_now(call, self.hub)  # type: ignore[arg-type]
        assert not self.writer.caller_writes
        return written, call.handed


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    pair = Pair()
    yield Bench(pair, monkeypatch)
    pair.close()


def test_with_nothing_before_it_it_is_written(bench: Bench) -> None:
    assert bench.write() == (True, True)


def test_not_while_the_hub_was_asked_for_something(bench: Bench) -> None:
    bench.hub.idle = False
    assert bench.write() == (False, False)


def test_not_while_another_waits_in_the_line(bench: Bench) -> None:
    bench.before = lambda: bench.calls._line.append(Call("first", b"{}"))
    assert bench.write() == (False, False)


def test_not_while_another_is_on_its_way(bench: Bench) -> None:
    bench.before = lambda: scene.call(bench.conversation, "first")
    assert bench.write() == (False, False)


def test_not_on_a_conversation_that_ends(bench: Bench) -> None:
    bench.before = bench.conversation.lost
    assert bench.write() == (False, False)
