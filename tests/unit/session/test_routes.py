"""Every subscription gets its events and all markers; who wants nothing costs nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync import limits
from gwsync.session.queues import EndWatcher, Queue
from gwsync.session.routes import Subscriptions
from gwsync.values import Dropped, Event, SeqGap, StateChange


def event(number: int, name: str = "demo") -> Event:
    return Event(name, str(number).encode(), number)


@pytest.fixture(params=["", "dispatch"], ids=["fast", "slow"])
def subscriptions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Subscriptions:
    monkeypatch.setenv("GWSYNC_SLOW", request.param)
    return Subscriptions()


def drained(queue: Queue) -> list[Any]:
    taken: list[Any] = []
    while queue.has_pushes():
        taken += queue.take()
    return taken


NAMES = st.sampled_from(["chat", "agent", "health", "gap", "state"])  # a gateway may say "gap"
PUSHES = st.one_of(
    NAMES.map(lambda name: Event(name, b"1")),
    st.builds(SeqGap, st.just(1), st.just(2)),
    st.builds(StateChange, st.just("waiting")),
)


@pytest.mark.parametrize("slow", ["", "dispatch"], ids=["fast", "slow"])
@given(
    filters=st.lists(st.sets(NAMES, max_size=3), max_size=6),
    batches=st.lists(st.lists(PUSHES, min_size=1, max_size=8), max_size=5),
)
def test_each_gets_its_events_and_every_marker_in_order(
    slow: str, filters: list[set[str]], batches: list[list[Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GWSYNC_SLOW", slow)
        subscriptions = Subscriptions()
    queues = [Queue(tuple(names), 1000, "drop_oldest") for names in filters]
    for queue in queues:
        subscriptions.add(queue)
    before = [list(batch) for batch in batches]
    for batch in batches:
        subscriptions.deliver(batch)
    assert batches == before  # which all queues share
    everything = [push for batch in batches for push in batch]
    for names, queue in zip(filters, queues, strict=True):
        assert drained(queue) == [
            push
            for push in everything
            if not names or type(push) is not Event or push.name in names
        ]


def test_a_filter_takes_its_events_and_every_marker(subscriptions: Subscriptions) -> None:
    queue = Queue(("a", "b"), 10, "drop_oldest")
    subscriptions.add(queue)
    gap, change = SeqGap(3, 5), StateChange("waiting")
    subscriptions.deliver([event(1, "a"), event(2, "c"), gap, event(5, "b"), change])
    assert [push.name for push in queue.take()] == ["a", "gap", "b", "state"]
    subscriptions.deliver([event(6, "c")])
    assert not queue.has_pushes()


class Untouchable(Queue):
    """It wants nothing that comes, and must not even be asked."""

    def offer(self, pushes: Any, size: int | None = None) -> None:
        raise AssertionError(f"offered {pushes}")


def test_who_wants_none_of_it_is_not_even_asked(subscriptions: Subscriptions) -> None:
    for n in range(100):
        subscriptions.add(Untouchable((f"rare-{n}", "other"), 10, "drop_oldest"))
    queue = Queue(("chat",), 10, "drop_oldest")
    subscriptions.add(queue)
    subscriptions.deliver([event(1, "chat"), event(2, "health")])
    subscriptions.deliver([event(3, "health")])
    assert [push.seq for push in queue.take()] == [1]


def test_all_who_want_the_same_share_one_list() -> None:
    subscriptions = Subscriptions()
    queues = [Queue(names, 10, "drop_oldest") for names in [(), ("a",), ("a",), ("b", "a")]]
    for queue in queues:
        subscriptions.add(queue)
    whole = [event(1, "a"), event(2, "a")]
    subscriptions.deliver(whole)
    assert all(queue._batches[0][0] is whole for queue in queues)
    subscriptions.deliver([event(3, "a"), event(4, "c")])
    assert queues[1]._batches[1][0] is queues[2]._batches[1][0]


def test_members_change_while_they_are_read(subscriptions: Subscriptions) -> None:
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


def test_who_left_gets_nothing_and_leaves_nothing_behind(subscriptions: Subscriptions) -> None:
    one, two = (Queue(("a", "b"), 10, "drop_oldest") for _ in range(2))
    for queue in (one, two):
        subscriptions.add(queue)
    subscriptions.remove(one)
    subscriptions.deliver([event(1, "a"), SeqGap(2, 3), event(3, "b")])
    assert not one.has_pushes()
    assert len(drained(two)) == 3
    subscriptions.remove(two)
    subscriptions.remove(two)
    assert not subscriptions
    assert subscriptions._by_name == {}


@pytest.mark.parametrize("names", [(), ("demo",)])
def test_a_subscription_to_be_cancelled_gets_what_there_was_and_the_loss(
    subscriptions: Subscriptions, names: tuple[str, ...]
) -> None:
    queue = Queue(names, 3, "cancel")
    subscriptions.add(queue)
    subscriptions.deliver([event(n) for n in range(3)])
    assert not queue.cancelled
    subscriptions.deliver([event(3), event(4)])
    assert queue.cancelled
    assert subscriptions.members == ()
    queue.offer([event(5)])
    taken = drained(queue)
    assert [push.payload for push in taken[:3]] == [0, 1, 2]
    assert sum(push.count for push in taken[3:] if isinstance(push, Dropped)) >= 1


def test_who_waits_for_the_end_takes_no_pushes(subscriptions: Subscriptions) -> None:
    ended: list[bool] = []

    class Waiter:
        def notify(self) -> None:
            ended.append(True)

        def wait(self, timeout: float | None = None) -> bool:
            return True

    watcher = EndWatcher(Waiter())
    subscriptions.add(watcher)
    assert not subscriptions  # nobody wants a link for that
    subscriptions.deliver([event(1)])
    assert not watcher.has_pushes()
    subscriptions.end(None)
    assert ended == [True]


@pytest.mark.parametrize("names", [(), ("demo",), ("demo", "other")])
@pytest.mark.parametrize("size", [None, 300_000])
def test_a_large_batch_is_handed_out_in_parts_and_its_consumers_come_between(
    names: tuple[str, ...], size: int | None
) -> None:
    """So that a queue need not hold all of it at once."""
    subscriptions = Subscriptions()
    waited: list[int] = []

    class Consumed(Queue):
        def give_way(self) -> None:
            waited.append(self.status.queued)
            seen.extend(self.take())

    seen: list[Any] = []
    queue = Consumed(names, 1000, "drop_oldest")
    subscriptions.add(queue)
    pushes = [event(n, "demo" if n % 3 else "other") for n in range(3000)]
    subscriptions.deliver(pushes, size)
    seen.extend(drained(queue))
    assert seen == [push for push in pushes if not names or push.name in names]
    assert len(waited) >= 5
    assert max(waited) <= limits.DELIVER_AT_ONCE
    assert queue._bytes == 0


def test_small_events_weigh_their_share_and_large_ones_what_they_are() -> None:
    subscriptions = Subscriptions()
    queue = Queue(("a",), 1000, "drop_oldest")
    subscriptions.add(queue)
    subscriptions.deliver([event(1, "a"), event(2, "b")], 500)
    assert queue._bytes == 250
    subscriptions.deliver([Event("a", b'"' + b"x" * 9998 + b'"'), event(2, "b")])
    assert queue._bytes == 250 + 10_000
