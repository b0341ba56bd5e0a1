"""Deadline: one instant, and earlier ones within it."""

from __future__ import annotations

from gwsync.transport.deadline import Deadline
from gwsync.transport.trace import Tracer


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_remains_is_never_negative() -> None:
    clock = Clock()
    deadline = Deadline(5, clock)
    assert deadline.remaining() == 5
    assert not deadline.passed
    clock.now += 5
    assert deadline.remaining() == 0
    assert deadline.passed
    clock.now += 5
    assert deadline.remaining() == 0


def test_a_stage_ends_with_the_whole_at_the_latest() -> None:
    clock = Clock()
    deadline = Deadline(5, clock)
    assert deadline.within(2).at == 102
    assert deadline.within(20).at == 105
    clock.now += 4
    assert deadline.within(2).at == 105
    clock.now += 4
    assert deadline.within(2).passed


def test_a_trace_counts_from_its_beginning() -> None:
    clock = Clock()
    tracer = Tracer("ws://h", clock)
    with tracer.stage("resolve", "looking") as note:
        assert tracer.current == "resolve"
        clock.now += 1
        note.detail = "found"
    clock.now += 1
    try:
        with tracer.stage("tcp", "connecting"):
            clock.now += 2
            raise OSError("nobody there")
    except OSError:
        pass
    first, second = tracer.trace.stages
    assert (first.stage, first.started_s, first.elapsed_s, first.ok) == ("resolve", 0, 1, True)
    assert (second.stage, second.started_s, second.elapsed_s) == ("tcp", 2, 2)
    assert not second.ok
    assert tracer.trace.elapsed_s == 4
    lines = str(tracer.trace).splitlines()
    assert len(lines) == 2
    assert "found" in lines[0]
    assert "FAILED" in lines[1]
