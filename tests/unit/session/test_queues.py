"""Queues: bounded, every loss counted once and announced in its place."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync import limits
from gwsync.session.queues import Queue, Subscriptions
from gwsync.session.subscriptions import PushStream, Subscription
from gwsync.values import Dropped, Event, SeqGap, StateChange


def event(number: int, name: str = "demo") -> Event:
    return Event(name, str(number).encode(), number)


def told(pushes: list[Any]) -> list[Any]:
    """Numbers of events, and losses as negative counts."""
    return [-push.count if isinstance(push, Dropped) else push.payload for push in pushes]


steps = st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=30)


def bounded(bound: int, on_full: str) -> Queue:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BACKLOG_PUSHES", 1)  # so that a backlog has an end in a test
        return Queue((), bound, on_full)


@given(steps, st.integers(1, 10), st.sampled_from(["drop_oldest", "block"]))
def test_each_push_is_delivered_or_counted_exactly_once(
    steps: list[tuple[bool, int]], bound: int, on_full: str
) -> None:
    """In order: a loss stands exactly where the lost ones would have stood."""
    queue = bounded(bound, on_full)
    offered = 0
    taken: list[Any] = []
    for offer, count in steps:
        if offer:
            queue.offer([event(offered + n) for n in range(count)])
            offered += count
            assert queue.status.queued <= bound + 1
        else:
            taken += queue.take(count)
    while queue.has_pushes():
        taken += queue.take()
    due = 0
    for push in taken:
        if isinstance(push, Dropped):
            assert push.count > 0
            due += push.count
        else:
            assert push.payload == due
            due += 1
    assert due == offered
    assert queue.dropped_total == sum(p.count for p in taken if isinstance(p, Dropped))


@given(steps, st.integers(1, 10), st.sampled_from(["drop_oldest", "block"]))
def test_what_is_put_back_keeps_its_place(
    steps: list[tuple[bool, int]], bound: int, on_full: str
) -> None:
    queue = bounded(bound, on_full)
    offered = 0
    taken: list[Any] = []
    for offer, count in steps:
        if offer:
            queue.offer([event(offered + n) for n in range(count)])
            offered += count
        else:
            got = queue.take(count)
            taken += got[: len(got) // 2]
            queue.put_back(got[len(got) // 2 :])
    while queue.has_pushes():
        taken += queue.take()
    due = 0
    for push in taken:
        due += push.count if isinstance(push, Dropped) else 1
        if isinstance(push, Event):
            assert push.payload == due - 1
    assert due == offered


def test_a_filter_takes_its_events_and_every_marker() -> None:
    queue = Queue(("a", "b"), 10, "drop_oldest")
    queue.offer([event(1, "a"), event(2, "c"), SeqGap(3, 5), event(5, "b"), StateChange("waiting")])
    assert [push.name for push in queue.take()] == ["a", "gap", "b", "state"]
    queue.offer([event(6, "c")])
    assert not queue.has_pushes()


def test_a_closed_queue_takes_nothing() -> None:
    queue = Queue((), 10, "drop_oldest")
    queue.closed = True
    queue.offer([event(1)])
    assert not queue.has_pushes()


def test_members_change_while_they_are_read() -> None:
    subscriptions = Subscriptions()
    one, two = Queue((), 10, "drop_oldest"), Queue((), 10, "drop_oldest")
    subscriptions.add(one)
    members = subscriptions.members
    subscriptions.add(two)
    subscriptions.remove(one)
    assert members == (one,)
    assert subscriptions.members == (two,)
    subscriptions.remove(one)
    one.closed = True
    subscriptions.add(one)
    assert subscriptions.members == (two,)


def test_a_stream_ends_after_what_it_holds() -> None:
    stream = PushStream()
    stream.queue.offer([event(1), event(2)])
    stream.queue.end(None)
    assert told(list(stream)) == [1, 2]
    assert list(stream) == []


def test_a_stream_that_was_closed_gives_nothing_more() -> None:
    detached: list[Any] = []
    stream = PushStream(detach=detached.append)
    stream.queue.offer([event(1), event(2)])
    assert next(stream).payload == 1
    stream.close()
    assert list(stream) == []
    assert detached == [stream.queue]


@pytest.mark.parametrize("fences", [1, 3])
def test_a_fence_is_reached_after_everything_before_it(fences: int) -> None:
    seen: list[Any] = []
    reached = threading.Event()
    subscription = Subscription(lambda push: seen.append(push.payload))
    subscription.offer([event(n) for n in range(100)])
    for _ in range(fences):
        subscription.when_drained(lambda: (seen.append("fence"), reached.set()))
    assert reached.wait(5)
    assert seen[:101] == [*range(100), "fence"]


def test_closing_a_subscription_reaches_its_fences() -> None:
    entered, go, reached = threading.Event(), threading.Event(), threading.Event()
    subscription = Subscription(lambda push: (entered.set(), go.wait(5)))
    subscription.offer([event(1)])
    assert entered.wait(5)
    subscription.when_drained(reached.set)
    subscription.close()
    assert reached.wait(5)
    go.set()


def test_nothing_is_lost_while_a_backlog_is_in_bounds() -> None:
    queue = Queue((), 2, "block")
    queue.offer([event(n) for n in range(1000)])
    taken = [push for _ in range(5) for push in queue.take()]
    assert [push.payload for push in taken] == list(range(1000))
    assert queue.dropped_total == 0


def test_a_backlog_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKLOG_BYTES", 1000)
    queue = Queue((), 2, "block")
    large = [Event("big", b'"' + b"x" * 98 + b'"') for _ in range(25)]
    queue.offer(large[:10])
    queue.offer(large[10:])
    kept = queue.take()
    assert kept[:-1] == large[:10]
    assert kept[-1] == Dropped(15)
    queue.offer(large[:10])  # there is room again
    assert queue.take() == large[:10]


def test_what_is_put_back_into_a_backlog_counts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKLOG_BYTES", 1000)
    queue = Queue((), 2, "block")
    large = [Event("big", b'"' + b"x" * 98 + b'"') for _ in range(15)]
    queue.offer(large[:10])
    queue.put_back(queue.take(5))
    queue.offer(large[10:])
    assert queue.take() == [*large[:10], Dropped(5)]


def test_a_subscription_to_be_cancelled_gets_what_there_was_and_the_loss() -> None:
    queue = Queue((), 3, "cancel")
    subscriptions = Subscriptions()
    subscriptions.add(queue)
    subscriptions.deliver([event(n) for n in range(3)])
    assert not queue.cancelled
    subscriptions.deliver([event(3), event(4)])
    assert queue.cancelled
    assert subscriptions.members == ()
    queue.offer([event(5)])
    taken = queue.take()
    assert [push.payload for push in taken[:3]] == [0, 1, 2]
    assert taken[3:] == [Dropped(2)]
