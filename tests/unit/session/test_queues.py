"""Queues: bounded, every loss counted once and announced in its place."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conformance.tools import elapsed_below, eventually
from gwsync import limits
from gwsync.session.queues import Queue
from gwsync.session.subscriptions import PushStream, Subscription
from gwsync.values import Dropped, Event


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


class Consumer:
    """Takes, consumes one by one, puts back; checks that nothing is lost in silence."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.due = 0  # the next number that was neither consumed nor counted as lost
        self.hand: list[Any] = []

    def take(self) -> None:
        if not self.hand:
            self.hand = self.queue.take()

    def consume(self, most: int) -> None:
        for push in self.hand[:most]:
            if isinstance(push, Dropped):
                assert push.count > 0
                self.due += push.count
            else:
                assert push.payload == self.due
                self.due += 1
        self.hand = self.hand[most:]

    def put_back(self) -> None:
        if self.hand:
            self.queue.put_back(self.hand)
        self.hand = []


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["offer", "take", "consume", "put back", "fence"]), st.integers(1, 9)
    ),
    max_size=60,
)


LOST_IN_HAND = [("offer", 1), ("take", 1), ("fence", 1), ("offer", 3), ("put back", 1)]
LOST_IN_FRONT = ["offer", "offer", "take", "offer", "put back", "fence", "offer"]  # of the fence


@given(ACTS, st.integers(1, 10), st.sampled_from(["drop_oldest", "block"]))
@example([(act, 1) for act in LOST_IN_FRONT], 1, "block")
@example(LOST_IN_HAND, 1, "drop_oldest")
@settings(max_examples=300)
def test_whatever_happens_in_whatever_order(
    acts: list[tuple[str, int]], bound: int, on_full: str
) -> None:
    """Losses stand in their place, also around what is put back; no fence is reached early."""
    queue = bounded(bound, on_full)
    consumer = Consumer(queue)
    offered = 0
    reached: list[int] = []

    def fence(at: int) -> None:
        def notify() -> None:
            assert consumer.due >= at
            assert not consumer.hand
            reached.append(at)

        queue._fence(notify)

    fences = []
    for act, count in acts:
        if act == "offer":
            queue.offer([event(offered + n) for n in range(count)])
            offered += count
        elif act == "take":
            consumer.take()
        elif act == "consume":
            consumer.consume(count)
        elif act == "put back":
            consumer.put_back()
        else:
            fences.append(offered)
            fence(offered)
    while consumer.hand or queue.has_pushes():
        consumer.consume(1000)
        consumer.take()
    assert consumer.due == offered
    queue.take()
    assert sorted(reached) == fences
    assert (queue.status.queued, queue._bytes) == (0, 0)


@pytest.fixture
def _free_running() -> Iterator[None]:
    """Threads change at nearly every instruction."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_free_running")
@pytest.mark.parametrize("bound", [1, 7, 10_000])
@pytest.mark.parametrize("on_full", ["drop_oldest", "block"])
def test_one_thread_offers_and_another_takes(bound: int, on_full: str) -> None:
    queue = bounded(bound, on_full)
    consumer = Consumer(queue)
    rounds, ended = 1500, threading.Event()

    def offer() -> None:
        number = 0
        for n in range(rounds):
            batch = [event(number + k) for k in range(1 + n % 13)]
            number += len(batch)
            queue.offer(batch)
        ended.set()

    thread = threading.Thread(target=offer)
    thread.start()
    turn = 0
    while not ended.is_set() or queue.has_pushes():
        consumer.take()
        consumer.consume(5)
        turn += 1
        if turn % 3 == 0:
            consumer.put_back()
        consumer.consume(1000)
    thread.join()
    assert consumer.due == sum(1 + n % 13 for n in range(rounds))
    assert (queue.status.queued, queue._bytes) == (0, 0)


@pytest.mark.usefixtures("_free_running")
@pytest.mark.parametrize("raised", [None, ValueError, SystemExit])
def test_free_running_callbacks_get_all_in_order(
    raised: type[BaseException] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever they raise; and fences of other threads are reached after what was before them."""
    caplog.set_level(logging.CRITICAL + 1, "gwsync.dispatch")
    seen: list[int] = []

    def callback(push: Any) -> None:
        seen.append(push.payload)
        if raised is not None and push.payload % 50 == 7:
            raise raised

    subscription = Subscription(callback, max_queue=1_000_000)
    early: list[int] = []

    def fences(done: threading.Event) -> None:
        while not done.is_set():
            reached, before = threading.Event(), offered[0]
            subscription.when_drained(
                lambda reached=reached, before=before: (
                    early.append(before) if len(seen) < before else None,
                    reached.set(),
                )
            )
            assert reached.wait(20)

    done = threading.Event()
    offered = [0]
    thread = threading.Thread(target=fences, args=(done,))
    thread.start()
    for n in range(1000):
        batch = [event(offered[0] + k) for k in range(1 + n % 11)]
        subscription.offer(batch)
        offered[0] += len(batch)
    reached = threading.Event()
    subscription.when_drained(reached.set)
    assert reached.wait(20)
    done.set()
    thread.join(20)
    assert seen == list(range(offered[0]))
    assert early == []
    subscription.close()


@pytest.mark.usefixtures("_free_running")
@pytest.mark.parametrize("last", [1, 2, 29, 30, 31, 59])
def test_a_callback_that_closes_its_own_subscription_is_not_called_again(last: int) -> None:
    seen: list[int] = []

    def callback(push: Any) -> None:
        seen.append(push.payload)
        if len(seen) == last:
            subscription.close()

    subscription = Subscription(callback)
    subscription.offer([event(n) for n in range(30)])
    subscription.offer([event(n) for n in range(30, 60)])
    drained = threading.Event()
    subscription.when_drained(drained.set)
    assert drained.wait(10)
    eventually_idle(subscription)
    assert seen == list(range(last))
    assert not subscription.has_pushes()


def eventually_idle(subscription: Subscription) -> None:
    eventually(lambda: not subscription._lane.busy, "its callback is over", 10)


def test_a_closed_queue_takes_nothing() -> None:
    queue = Queue((), 10, "drop_oldest")
    queue.closed = True
    queue.offer([event(1)])
    assert not queue.has_pushes()


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
    monkeypatch.setattr(limits, "QUEUE_BYTES", 1000)
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
    monkeypatch.setattr(limits, "QUEUE_BYTES", 1000)
    queue = Queue((), 2, "block")
    large = [Event("big", b'"' + b"x" * 98 + b'"') for _ in range(15)]
    queue.offer(large[:10])
    queue.put_back(queue.take(5))
    queue.offer(large[10:])
    assert queue.take() == [*large[:10], Dropped(5)]


@pytest.mark.parametrize("on_full", ["drop_oldest", "block", "cancel"])
def test_a_queue_of_large_events_is_bounded_in_bytes(on_full: str) -> None:
    """Ten thousand events of 64 KB would be 640 MB."""
    raw = b'"' + b"x" * 65_534 + b'"'
    queue = Queue((), 10_000, on_full)
    for _ in range(2000):
        queue.offer([Event("big", raw) for _ in range(5)])
    held = queue.status.queued
    assert held * len(raw) <= limits.QUEUE_BYTES + len(raw)
    assert held >= limits.QUEUE_BYTES // len(raw)
    kept: list[Any] = []
    while queue.has_pushes():
        kept += queue.take()
    at = 0 if on_full == "drop_oldest" else -1
    assert isinstance(kept[at], Dropped)
    if on_full == "cancel":
        assert queue.cancelled
    else:
        assert kept[at].count + len(kept) - 1 == 10_000
    assert queue._bytes == 0


@pytest.mark.parametrize("on_full", ["drop_oldest", "block", "cancel"])
def test_one_event_may_be_larger_than_the_bound(
    on_full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUE_BYTES", 1000)
    queue = Queue((), 10, on_full)
    huge = Event("huge", b'"' + b"x" * 5000 + b'"')
    queue.offer([huge])
    assert queue.take() == [huge]
    queue.offer([event(1)])
    queue.offer([huge])
    kept = queue.take()
    assert [type(push) for push in kept] == (
        [Dropped, Event] if on_full == "drop_oldest" else [Event, Dropped]
    )


def test_bytes_that_were_read_meanwhile_do_not_fill_a_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another subscriber decoded the payload: what was added is what is taken off again."""
    monkeypatch.setattr(limits, "QUEUE_BYTES", 1000)
    queue = Queue((), 10, "block")
    for _ in range(50):
        batch = [Event("big", b'"' + b"x" * 98 + b'"') for _ in range(2)]
        queue.offer(batch)
        queue.offer(batch)
        assert {len(push.payload) for push in batch} == {98}
        queue.take(1)
        queue.take(1)
    assert queue.dropped_total == 0
    assert queue._bytes == 0


def test_a_callback_that_stands_still_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "SLOW_CALLBACK_S", 5.0)
    entered, go = threading.Semaphore(0), threading.Semaphore(0)

    def callback(push: Any) -> None:
        entered.release()
        go.acquire()

    subscription = Subscription(callback)
    subscription.look(0.0)
    subscription.offer([event(n) for n in range(4)])
    for push in range(2):
        assert entered.acquire(timeout=5)
        for second in range(9):
            subscription.look(100.0 * push + second)
        assert len(caplog.records) == push + 1
        assert "busy with one push for 5 s" in caplog.text
        go.release()
    assert entered.acquire(timeout=5)
    for second in range(20):  # it gets on
        subscription.look(300.0 + second)
        if second == 3:
            go.release()
            assert entered.acquire(timeout=5)
    assert len(caplog.records) == 3
    assert "; 0 wait behind it" in caplog.records[2].getMessage()
    go.release()
    eventually_idle(subscription)
    subscription.look(400.0)
    subscription.look(500.0)
    assert len(caplog.records) == 3


def behind(queue: Queue) -> Queue:
    queue.offer([event(n) for n in range(limits.DISPATCH_BATCH)])
    return queue


def test_the_hub_waits_for_a_consumer_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GIVE_WAY_S", 60.0)
    queue = behind(Queue((), 1000, "drop_oldest"))
    assert queue.is_behind()

    def take() -> None:
        eventually(lambda: queue._waits, "the hub waits", 5)
        queue.take()

    thread = threading.Thread(target=take)
    thread.start()
    with elapsed_below(10, "the wait ends with the take"):
        queue.give_way()
    thread.join()
    assert not queue.is_behind()


def test_a_consumer_that_takes_nothing_is_not_waited_for_for_ever() -> None:
    queue = behind(Queue((), 1000, "drop_oldest"))
    for _ in range(limits.GIVE_WAY_TIMES):
        assert queue.is_behind()
        queue.give_way()
    assert not queue.is_behind()
    queue.take()
    assert behind(queue).is_behind()
    queue.give_way()  # at once: it was told of that take
    assert not Queue((), 1000, "drop_oldest").is_behind()
