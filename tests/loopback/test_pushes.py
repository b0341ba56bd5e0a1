"""Subscriptions and pushes(): order, losses that are announced, callbacks that misbehave."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import gwsync
from conformance.tools import Log, elapsed_below, eventually
from gwsync import limits
from loopback.support import FAST, Bench, is_event, is_state, shown, until_closed


@pytest.fixture
def connection(bench: Bench) -> gwsync.Connection:
    connection = bench.connection()
    connection.connect()
    return connection


class Gate:
    """A callback that holds the first push until it is opened, and keeps what came."""

    def __init__(self) -> None:
        self.log = Log()
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, push: Any) -> None:
        self.entered.set()
        assert self.open.wait(20)
        self.log(push)


def queued(connection: gwsync.Connection, count: int) -> None:
    """Wait until the only subscription has that many pushes in its queue."""
    eventually(
        lambda: connection.status().subscriptions[0].queued == count, f"{count} are queued", 5
    )


# -- before any connection -----------------------------------------------------------


@pytest.mark.usefixtures("unknown_names")
@pytest.mark.parametrize("how", ["refused", "silent", "unresolved", "parked"])
def test_subscribing_before_a_connection_neither_blocks_nor_raises(bench: Bench, how: str) -> None:
    url = {
        "refused": lambda: "ws://127.0.0.1:9",
        "silent": lambda: bench.server(until_closed).url,
        "unresolved": lambda: "wss://nonexistent.invalid",
        "parked": lambda: bench.gateway.url,
    }[how]()
    connection = bench.connection(url=url, token="wrong")
    with elapsed_below(1, "subscribe and pushes"):
        subscription = connection.subscribe(lambda push: None)
        stream = connection.pushes()
    eventually(lambda: connection.status().state != "idle", "it dials in the background", 5)
    stream.close()
    subscription.close()
    eventually(lambda: connection.status().subscriptions == (), "nothing is left", 5)


def test_the_first_link_begins_with_its_state_and_snapshot(bench: Bench) -> None:
    connection = bench.connection()
    log = Log()
    connection.subscribe(log)
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot", timeout=5)
    bench.gateway.push("demo")
    log.wait(lambda push: is_event(push, "demo"), "the event", timeout=5)
    assert [shown(push) for push in log.pushes] == ["connected", "snapshot", "demo"]
    assert log.pushes[0].attempt == 1
    assert log.pushes[1].payload["stateVersion"]
    assert log.pushes[1].hello == connection.hello()


def test_a_late_subscriber_gets_the_snapshot_first_and_no_old_state(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.push("demo", 1)
    connection.request("health")  # it has arrived
    log = Log()
    connection.subscribe(log, "demo")
    connection.request("health")
    bench.gateway.push("demo", 2)
    log.wait(lambda push: is_event(push, "demo"), "the event", timeout=5)
    assert [shown(push) for push in log.pushes] == ["snapshot", "demo"]


def test_without_replay_there_is_no_snapshot(bench: Bench, connection: gwsync.Connection) -> None:
    log = Log()
    connection.subscribe(log, "demo", replay=False)
    stream = connection.pushes("demo", replay=False)
    connection.request("health")
    bench.gateway.push("demo", 1)
    log.wait(lambda push: is_event(push, "demo"), "the event", timeout=5)
    assert [shown(push) for push in log.pushes] == ["demo"]
    assert next(stream).payload == 1


# -- order -----------------------------------------------------------------------------


def test_order_across_a_lost_link(bench: Bench, connection: gwsync.Connection) -> None:
    log = Log()
    connection.subscribe(log, "demo")
    connection.request("health")
    bench.gateway.push("demo", "old")
    log.wait(lambda push: is_event(push, "demo"), "the old event", timeout=5)
    bench.gateway.drop()
    up = log.wait(lambda push: is_state(push, "connected"), "the new link", timeout=5)
    bench.gateway.push("demo", "new")
    log.wait(lambda push: is_event(push, "demo"), "the new event", after=up, timeout=5)
    words = [shown(push) for push in log.pushes]
    assert words == ["snapshot", "demo", "waiting", "connected", "snapshot", "demo"]
    waiting = log.pushes[2]
    assert waiting.retry_in is not None
    assert waiting.reason
    assert log.pushes[-1].payload == "new"


def test_nothing_of_the_old_link_after_waiting(bench: Bench, connection: gwsync.Connection) -> None:
    """Floods are cut ten times; what each link delivered comes in one piece."""
    log = Log()
    connection.subscribe(log, "demo", max_queue=100_000)
    connection.request("health")
    for link in range(10):
        bench.gateway.push_many("demo", [{"link": link, "n": n} for n in range(500)])
        bench.gateway.drop()
        bench.gateway.wait_connections(total=link + 2)
    bench.gateway.push("demo", {"link": 10, "n": 0})
    log.wait(lambda push: is_event(push, "demo") and push.payload["link"] == 10, "the end")
    link, due = 0, 0
    for push in log.pushes:
        if is_state(push, "waiting"):
            link, due = link + 1, 0
        elif isinstance(push, gwsync.Event):
            assert push.payload == {"link": link, "n": due}
            due += 1
    assert link == 10


def test_a_gap_is_announced_before_the_event_that_showed_it(
    bench: Bench, connection: gwsync.Connection
) -> None:
    log = Log()
    connection.subscribe(log, "demo")
    connection.request("health")
    bench.gateway.push("demo", 1)
    bench.gateway.push("demo", 2, skip_seq=3)
    bench.gateway.push("other", 0)
    bench.gateway.push("demo", 3)
    log.wait(lambda push: is_event(push, "demo") and push.payload == 3, "the last", timeout=5)
    assert [shown(push) for push in log.pushes] == ["snapshot", "demo", "gap", "demo", "demo"]
    gap = log.pushes[2]
    assert gap.received - gap.expected == 3
    assert gap.payload == {"expected": gap.expected, "received": gap.received}
    assert log.pushes[3].seq == gap.received


def test_a_gap_in_events_not_asked_for_is_announced_too(
    bench: Bench, connection: gwsync.Connection
) -> None:
    """What was missed may have been one of those asked for."""
    log = Log()
    connection.subscribe(log, "demo")
    connection.request("health")
    bench.gateway.push("demo", 1)
    bench.gateway.push("other", 1, skip_seq=1)
    log.wait(lambda push: isinstance(push, gwsync.SeqGap), "the gap", timeout=5)
    assert [shown(push) for push in log.pushes] == ["snapshot", "demo", "gap"]


def test_a_new_link_starts_a_new_count(bench: Bench, connection: gwsync.Connection) -> None:
    log = Log()
    connection.subscribe(log)
    connection.request("health")
    for n in range(5):
        bench.gateway.push("demo", n)
    bench.gateway.drop()
    up = log.wait(lambda push: is_state(push, "connected"), "the new link", timeout=5)
    bench.gateway.push("demo", 99)
    log.wait(lambda push: is_event(push, "demo"), "an event", after=up, timeout=5)
    assert not any(isinstance(push, gwsync.SeqGap) for push in log.pushes)


def test_a_named_filter_lets_every_marker_pass(bench: Bench, connection: gwsync.Connection) -> None:
    gate = Gate()
    connection.subscribe(gate, "demo", max_queue=3)
    assert gate.entered.wait(5)
    for n in range(5):
        bench.gateway.push("demo", n)
        bench.gateway.push("noise", n)
    bench.gateway.push("demo", 5, skip_seq=1)
    connection.request("health")
    bench.gateway.drop()
    eventually(lambda: connection.status().reconnects == 1, "it is back", 5)
    gate.open.set()
    gate.log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the second", after=0, timeout=5)
    kinds = {type(push) for push in gate.log.pushes}
    assert kinds >= {gwsync.Snapshot, gwsync.Dropped, gwsync.StateChange}
    assert not any(is_event(push, "noise") for push in gate.log.pushes)
    for push in gate.log.pushes:
        assert isinstance(push.name, str)
        assert push.payload is not None


# -- slow callbacks ------------------------------------------------------------------------


@pytest.mark.parametrize("on_full", ["drop_oldest", "block"])
def test_delivered_and_dropped_are_what_was_pushed(
    bench: Bench, connection: gwsync.Connection, on_full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BACKLOG_PUSHES", 50)
    gate = Gate()
    connection.subscribe(gate, "demo", max_queue=50, on_full=on_full)
    assert gate.entered.wait(5)  # it holds the snapshot
    for part in range(5):  # several batches, so that the queue overflows more than once
        bench.gateway.push_many("demo", range(part * 100, part * 100 + 100))
        connection.request("health")  # all of them have arrived
    status = connection.status().subscriptions[0]
    assert status.dropped == 450
    gate.open.set()
    queued(connection, 0)
    bench.gateway.push("demo", 999)
    gate.log.wait(lambda push: is_event(push, "demo") and push.payload == 999, "the end", timeout=5)
    events = [push.payload for push in gate.log.pushes if isinstance(push, gwsync.Event)]
    losses = [push.count for push in gate.log.pushes if isinstance(push, gwsync.Dropped)]
    assert events == sorted(events)
    assert len(events) == len(set(events))
    assert len(events) + sum(losses) == 501
    assert sum(losses) == connection.status().subscriptions[0].dropped
    kept = range(450, 500) if on_full == "drop_oldest" else range(50)
    assert [n for n in events if n != 999] == list(kept)
    words = [shown(push) for push in gate.log.pushes]
    at = words.index("dropped")
    assert at == (1 if on_full == "drop_oldest" else 51)  # where the loss is


def test_block_loses_nothing_and_holds_up_nobody_else(
    bench: Bench, connection: gwsync.Connection
) -> None:
    gate, other = Gate(), Log()
    connection.subscribe(gate, "demo", max_queue=10, on_full="block")
    connection.subscribe(other, "demo")
    assert gate.entered.wait(5)
    bench.gateway.push_many("demo", range(800))
    connection.request("health")  # the reader reads on
    other.wait(lambda push: is_event(push, "demo") and push.payload == 799, "the other", timeout=5)
    assert connection.status().subscriptions[0].dropped == 0
    gate.open.set()
    gate.log.wait(lambda push: is_event(push, "demo") and push.payload == 799, "the end", timeout=5)
    events = [push.payload for push in gate.log.pushes if isinstance(push, gwsync.Event)]
    assert events == list(range(800))


def test_cancel_ends_the_subscription_with_the_loss_announced(
    bench: Bench, connection: gwsync.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    subscription = connection.subscribe(gate, "demo", max_queue=10, on_full="cancel")
    stream = connection.pushes("demo", max_queue=10, on_full="cancel", replay=False)
    assert gate.entered.wait(5)
    connection.request("health")  # by now both are subscribed
    bench.gateway.push_many("demo", range(30))
    connection.request("health")
    assert subscription.cancelled
    assert connection.status().subscriptions == ()
    bench.gateway.push_many("demo", range(30, 40))
    connection.request("health")
    gate.open.set()
    gate.log.wait(lambda push: isinstance(push, gwsync.Dropped), "the loss", timeout=5)
    events = [push.payload for push in gate.log.pushes if isinstance(push, gwsync.Event)]
    assert events == list(range(10))
    assert gate.log.pushes[-1].count == 20
    got = list(stream)  # it ends by itself
    assert [push.payload for push in got[:-1]] == list(range(10))
    assert isinstance(got[-1], gwsync.Dropped)
    assert sum("cancelled" in record.getMessage() for record in caplog.records) == 2


def test_a_callback_that_does_not_return_is_named_in_a_warning(
    bench: Bench,
    connection: gwsync.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SLOW_CALLBACK_S", 0.2)
    monkeypatch.setattr(limits, "WATCH_EVERY_S", 0.1)
    gate = Gate()

    def stuck_in_traffic(push: Any) -> None:
        gate(push)

    connection.subscribe(stuck_in_traffic, "demo")
    assert gate.entered.wait(5)
    bench.gateway.push_many("demo", range(3))

    def warnings() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        return [line for line in found if "stuck_in_traffic has been busy" in line]

    eventually(lambda: bool(warnings()), "a warning", 5)
    connection.request("health")
    assert len(warnings()) == 1  # once for each push that takes so long
    gate.open.set()


@pytest.mark.parametrize("on_full", ["drop_oldest", "block"])
def test_a_flood_over_a_busy_callback_adds_up(
    bench: Bench, connection: gwsync.Connection, on_full: str
) -> None:
    """While it consumes: every number is delivered once, in order, or counted in its place."""
    log = Log()

    def busy(push: Any) -> None:
        end = time.perf_counter() + 0.00005
        while time.perf_counter() < end:
            pass
        log(push)

    connection.subscribe(busy, "demo", max_queue=20, on_full=on_full)
    # The snapshot is no event: lost among them, it would be counted with them.
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot", timeout=5)
    bench.gateway.push_many("demo", range(5000))
    log.wait(lambda push: isinstance(push, gwsync.Event), "an event", timeout=5)
    connection.request("health")
    queued(connection, 0)
    bench.gateway.push("demo", 5000)
    log.wait(lambda push: is_event(push, "demo") and push.payload == 5000, "the end", timeout=10)
    due = 0
    for push in log.pushes:
        if isinstance(push, gwsync.Dropped):
            due += push.count
        elif isinstance(push, gwsync.Event):
            assert push.payload == due
            due += 1
    assert due == 5001


def test_a_blocked_callback_stops_nobody_else(bench: Bench, connection: gwsync.Connection) -> None:
    gate, log = Gate(), Log()
    connection.subscribe(gate)
    connection.subscribe(log, "demo")
    stream = connection.pushes("demo")
    assert gate.entered.wait(5)
    for n in range(100):
        bench.gateway.push("demo", n)
    log.wait(lambda push: is_event(push, "demo") and push.payload == 99, "all of them", timeout=5)
    assert connection.request("health")["ok"] is True
    taken = [next(stream) for _ in range(101)]
    assert [push.payload for push in taken[1:]] == list(range(100))
    gate.open.set()


def test_many_blocked_callbacks_stop_nobody_else(
    bench: Bench, connection: gwsync.Connection
) -> None:
    gates = [Gate() for _ in range(50)]
    for gate in gates:
        connection.subscribe(gate)
    for gate in gates:
        assert gate.entered.wait(5)
    log = Log()
    connection.subscribe(log)
    connection.request("health")  # the subscription is there, not only on its way
    bench.gateway.push("demo")
    log.wait(lambda push: is_event(push, "demo"), "the event", timeout=5)
    for gate in gates:
        gate.open.set()


def test_one_subscription_is_served_one_push_at_a_time(
    bench: Bench, connection: gwsync.Connection
) -> None:
    inside = []
    overlaps = []
    log = Log()

    def careful(push: Any) -> None:
        inside.append(1)
        overlaps.append(len(inside))
        time.sleep(0.0002)
        inside.pop()
        log(push)

    connection.subscribe(careful, "demo")
    connection.request("health")
    for n in range(200):
        bench.gateway.push("demo", n)
    log.wait(lambda push: is_event(push, "demo") and push.payload == 199, "all of them", timeout=5)
    assert set(overlaps) == {1}


# -- callbacks that do things ------------------------------------------------------------------


def test_what_a_callback_raises_is_logged_once_a_second_and_others_go_on(
    bench: Bench, connection: gwsync.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(push: Any) -> None:
        raise ValueError("of the user's own")

    log = Log()
    subscription = connection.subscribe(broken, "demo")
    connection.subscribe(log, "demo")
    connection.request("health")
    with caplog.at_level(logging.ERROR, "gwsync.dispatch"):
        began = time.monotonic()
        for n in range(50):
            bench.gateway.push("demo", n)
        log.wait(lambda push: is_event(push, "demo") and push.payload == 49, "all", timeout=5)
        eventually(lambda: subscription.errors == 51, "the broken one got all of them too", 5)
        took = time.monotonic() - began
    lines = [record for record in caplog.records if "broken raised" in record.getMessage()]
    assert 1 <= len(lines) <= 1 + took
    assert lines[0].exc_info is not None
    assert connection.request("health")["ok"] is True


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_even_what_stops_a_thread_costs_only_that_push(
    bench: Bench,
    connection: gwsync.Connection,
    caplog: pytest.LogCaptureFixture,
    raised: type[BaseException],
) -> None:
    log = Log()

    def broken(push: Any) -> None:
        log(push)
        if is_event(push, "demo") and push.payload == 0:
            raise raised

    connection.subscribe(broken, "demo")
    connection.request("health")
    bench.gateway.push_many("demo", range(10))
    log.wait(lambda push: is_event(push, "demo") and push.payload == 9, "the last", timeout=5)
    assert [shown(push) for push in log.pushes] == ["snapshot", *["demo"] * 10]
    eventually(
        lambda: any(record.levelno >= logging.ERROR for record in caplog.records),
        "it is in the log",
        5,
    )


def test_a_callback_may_ask_the_gateway(bench: Bench, connection: gwsync.Connection) -> None:
    log = Log()
    connection.subscribe(lambda push: log(connection.request("health")["ok"]), "demo")
    connection.request("health")  # the subscription is there, not only on its way
    bench.gateway.push("demo", 1)
    log.wait(lambda answer: answer is True, "an answer", timeout=5)
    log.wait(lambda answer: answer is True, "another", after=0, timeout=5)


def test_a_callback_may_subscribe_and_unsubscribe(
    bench: Bench, connection: gwsync.Connection
) -> None:
    log = Log()
    made: list[gwsync.Subscription] = []

    def once(push: Any) -> None:
        made[0].close()
        connection.subscribe(log, "demo")

    made.append(connection.subscribe(once, "demo", replay=False))
    connection.request("health")
    bench.gateway.push("demo", 1)
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot", timeout=5)
    bench.gateway.push("demo", 2)
    index = log.wait(lambda push: is_event(push, "demo"), "the event", timeout=5)
    assert log.pushes[index].payload == 2
    assert len(connection.status().subscriptions) == 1


def test_a_closed_subscription_gets_nothing_more(
    bench: Bench, connection: gwsync.Connection
) -> None:
    gate, other = Gate(), Log()
    subscription = connection.subscribe(gate, "demo")
    connection.subscribe(other, "demo")
    assert gate.entered.wait(5)
    for n in range(10):
        bench.gateway.push("demo", n)
    other.wait(lambda push: is_event(push, "demo") and push.payload == 9, "all", timeout=5)
    subscription.close()
    subscription.close()
    gate.open.set()
    bench.gateway.push("demo", 10)
    other.wait(lambda push: is_event(push, "demo") and push.payload == 10, "one more", timeout=5)
    eventually(lambda: not subscription._lane.busy, "the callback under way ends", 5)
    assert [shown(push) for push in gate.log.pushes] == ["snapshot"]
    eventually(lambda: len(connection.status().subscriptions) == 1, "one is left", 5)


def test_the_decorator_leaves_the_function_as_it_is(
    bench: Bench, connection: gwsync.Connection
) -> None:
    log = Log()

    @connection.on("demo", "other")
    def handler(push: Any) -> str:
        log(push)
        return "value"

    assert handler(None) == "value"
    connection.request("health")
    bench.gateway.push("other", 1)
    log.wait(lambda push: is_event(push, "other"), "the event", timeout=5)
    assert [one.events for one in connection.status().subscriptions] == [("demo", "other")]
    with pytest.raises(gwsync.ConfigError, match=r"@gwsync\.on"):
        connection.on(handler)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"max_queue": 0},
        {"max_queue": -1},
        {"max_queue": True},
        {"max_queue": 10**9},
        {"max_queue": 1.5},
        {"on_full": "wait"},
    ],
    ids=repr,
)
def test_bad_options_are_the_callers_error(bench: Bench, options: dict[str, Any]) -> None:
    connection = bench.connection()
    with pytest.raises(gwsync.ConfigError):
        connection.subscribe(print, **options)
    with pytest.raises(gwsync.ConfigError):
        connection.pushes(**options)
    with pytest.raises(gwsync.ConfigError):
        connection.subscribe("not callable")  # type: ignore[arg-type]
    with pytest.raises(gwsync.ConfigError):
        connection.subscribe(print, "")
    with pytest.raises(gwsync.ConfigError):
        connection.pushes(5)  # type: ignore[arg-type]
    assert bench.gateway.sockets_total == 0


# -- events of any kind --------------------------------------------------------------------------


def test_a_payload_that_is_not_json_costs_only_itself(
    bench: Bench, connection: gwsync.Connection
) -> None:
    stream = connection.pushes("demo", replay=False)
    connection.request("health")
    bench.gateway.push_raw('{"type":"event","event":"demo","payload":{"title":"a \\ud800 b"}}')
    bench.gateway.push("demo", "fine", numbered=False)
    cut = next(stream)
    assert cut.payload == {"title": "a \ufffd b"}
    assert next(stream).payload == "fine"
    assert connection.status().state == "connected"


def test_events_without_numbers_and_state_versions(
    bench: Bench, connection: gwsync.Connection
) -> None:
    stream = connection.pushes("demo", "health", replay=False)
    connection.request("health")
    bench.gateway.push("demo", None, numbered=False)
    bench.gateway.push_health()
    first, second = next(stream), next(stream)
    assert (first.name, first.payload, first.seq) == ("demo", None, None)
    assert second.name == "health"
    assert second.state_version["health"] > 0


# -- the iterator ----------------------------------------------------------------------------------


def left(connection: gwsync.Connection) -> Callable[[], bool]:
    return lambda: connection.status().subscriptions == ()


def test_break_leaves_no_subscription(bench: Bench, connection: gwsync.Connection) -> None:
    for push in connection.pushes("demo"):
        assert isinstance(push, gwsync.Snapshot)
        break
    eventually(left(connection), "no subscription is left", 5)


def test_an_exception_leaves_no_subscription(bench: Bench, connection: gwsync.Connection) -> None:
    def loop() -> None:
        for _ in connection.pushes("demo"):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        loop()
    eventually(left(connection), "no subscription is left", 5)


def test_collecting_leaves_no_subscription(bench: Bench, connection: gwsync.Connection) -> None:
    stream = connection.pushes("demo")
    circle = [stream]
    circle.append(circle)  # type: ignore[arg-type]
    del stream, circle
    gc.collect()
    eventually(left(connection), "no subscription is left", 5)


def test_a_with_block_leaves_no_subscription(bench: Bench, connection: gwsync.Connection) -> None:
    with connection.pushes("demo") as stream:
        assert isinstance(next(stream), gwsync.Snapshot)
    eventually(left(connection), "no subscription is left", 5)
    assert list(stream) == []


def test_another_thread_may_close_a_stream_that_waits(
    bench: Bench, connection: gwsync.Connection
) -> None:
    stream = connection.pushes("demo", replay=False)
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (list(stream), ended.set()))
    thread.start()
    eventually(lambda: stream.queue.waiters, "it waits", 5)
    stream.close()
    assert ended.wait(5)
    thread.join(5)


def test_two_threads_may_share_a_stream(bench: Bench, connection: gwsync.Connection) -> None:
    stream = connection.pushes("demo", replay=False)
    log = Log()

    def consume() -> None:
        for push in stream:
            log(push)

    threads = [threading.Thread(target=consume, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    connection.request("health")
    for n in range(100):
        bench.gateway.push("demo", n)
    eventually(lambda: len(log.pushes) == 100, "each push went to one of them", 5)
    connection.close()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_pushes_end_at_close_after_what_was_queued(
    bench: Bench, connection: gwsync.Connection
) -> None:
    stream = connection.pushes("demo")
    connection.request("health")
    bench.gateway.push("demo", 1)
    connection.request("health")
    connection.close()
    assert [shown(push) for push in stream] == ["snapshot", "demo", "closed"]
    assert list(stream) == []


def test_pushes_raise_when_parked(bench: Bench) -> None:
    connection = bench.connection(token="wrong")
    stream = connection.pushes()
    seen: list[Any] = []

    def loop() -> None:
        seen.extend(stream)

    with pytest.raises(gwsync.AuthError):
        loop()
    assert [shown(push) for push in seen] == ["parked"]
    eventually(left(connection), "no subscription is left", 5)
    with pytest.raises(gwsync.AuthError):
        next(connection.pushes())
    assert bench.gateway.sockets_total == 1


def test_pushes_go_on_across_links(bench: Bench, connection: gwsync.Connection) -> None:
    stream = connection.pushes("demo", replay=False)
    connection.request("health")
    bench.gateway.restart(100)
    eventually(lambda: connection.status().reconnects == 1, "it is back", 5)
    bench.gateway.push("demo", 1)
    words = []
    for push in stream:
        words.append(shown(push))
        if is_event(push, "demo"):
            break
    assert words[-4:] == ["waiting", "connected", "snapshot", "demo"] or words[-3:] == [
        "connected",
        "snapshot",
        "demo",
    ]
    assert words[0] == "waiting"


def test_a_slow_iterator_is_told_of_its_losses(bench: Bench, connection: gwsync.Connection) -> None:
    stream = connection.pushes("demo", max_queue=10)
    connection.request("health")
    bench.gateway.push_many("demo", range(100))
    connection.request("health")
    first = next(stream)
    assert isinstance(first, gwsync.Dropped)
    assert first.count == 91  # ninety events and the snapshot
    assert [next(stream).payload for _ in range(10)] == list(range(90, 100))


def test_a_first_failure_does_not_end_pushes(bench: Bench) -> None:
    """They were asked for before the gateway was there, and get it when it is."""
    gateway = bench.another_gateway()
    gateway.restart(down_for=None)
    connection = gwsync.Connection(
        gwsync.Config(
            url=gateway.url, token=gateway.token, state_dir=bench.state_dir, reconnect=FAST
        )
    )
    with connection, connection.pushes("demo") as stream:
        assert is_state(next(stream), "waiting")
        gateway.resume()
        for push in stream:
            if isinstance(push, gwsync.Snapshot):
                break
        gateway.push("demo", 1)
        assert next(stream).payload == 1
