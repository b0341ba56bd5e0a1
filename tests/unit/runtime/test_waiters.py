"""Waiters: notified once or not at all, from any thread, and nothing left behind."""

from __future__ import annotations

import threading
import time

import gevent
import pytest
from gevent.event import Event

from gwsync import limits
from gwsync.runtime import waiters
from gwsync.runtime.native import get_ident
from gwsync.runtime.waiters import Countdown, GreenletWaiter, ThreadWaiter, make_waiter


def in_native_thread(function: object) -> None:
    """Run it in a thread without a hub, to its end."""
    thread = threading.Thread(target=function)  # type: ignore[arg-type]
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def hub() -> object:
    return gevent.get_hub()


def kinds() -> list[object]:
    return [ThreadWaiter, lambda: GreenletWaiter(gevent.get_hub())]


@pytest.mark.parametrize("make", kinds())
def test_a_notification_before_the_wait_counts(make: type[ThreadWaiter]) -> None:
    waiter = make()
    waiter.notify()
    waiter.notify()
    assert waiter.wait(0) is True


@pytest.mark.parametrize("make", kinds())
@pytest.mark.parametrize("timeout", [0, 0.01, -1])
def test_a_wait_that_is_not_notified_ends_at_its_timeout(
    make: type[ThreadWaiter], timeout: float
) -> None:
    began = time.monotonic()
    assert make().wait(timeout) is False
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("make", kinds())
def test_another_thread_notifies(make: type[ThreadWaiter]) -> None:
    for _ in range(50):
        waiter = make()
        thread = threading.Thread(target=waiter.notify)
        thread.start()
        assert waiter.wait(5) is True
        thread.join()


def test_two_notifications_at_once_are_one() -> None:
    """Both find a waiter that waits; the second must not wake it elsewhere."""
    waiter = GreenletWaiter(gevent.get_hub())
    threads = [threading.Thread(target=waiter.notify) for _ in range(10)]
    for thread in threads:
        thread.start()
    assert waiter.wait(5) is True
    for thread in threads:
        thread.join()
    with gevent.Timeout(0.02, False):
        Event().wait()  # nothing stray arrives here


def test_a_greenlet_waits_and_the_others_go_on() -> None:
    waiter = GreenletWaiter(gevent.get_hub())
    order: list[str] = []

    def wait() -> None:
        order.append(f"woken {waiter.wait(5)}")

    job = gevent.spawn(wait)
    gevent.sleep(0)
    order.append("meanwhile")
    waiter.notify()
    job.join(5)
    assert order == ["meanwhile", "woken True"]


def test_a_timeout_of_the_callers_own_passes_through() -> None:
    waiter = GreenletWaiter(gevent.get_hub())
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        waiter.wait(5)
    assert waiter._watcher is None
    waiter.notify()  # too late, and harmless


def test_a_kill_passes_through() -> None:
    waiter = GreenletWaiter(gevent.get_hub())
    job = gevent.spawn(waiter.wait)
    gevent.sleep(0)
    job.kill()
    assert isinstance(job.value, gevent.GreenletExit)
    assert waiter._watcher is None


def test_a_wait_may_be_the_only_thing_on_its_hub() -> None:
    """A thread with a hub and nothing else on it: no LoopExit."""
    woken: list[bool] = []

    def wait() -> None:
        hub = gevent.get_hub()
        try:
            waiter = GreenletWaiter(hub)
            threading.Timer(0.02, waiter.notify).start()
            woken.append(waiter.wait())
        finally:
            hub.destroy(destroy_loop=True)

    in_native_thread(wait)
    assert woken == [True]


def test_a_hub_that_is_gone_can_be_notified() -> None:
    made: list[GreenletWaiter] = []

    def leave() -> None:
        hub = gevent.get_hub()
        waiter = GreenletWaiter(hub)
        made.append(waiter)
        waiter.wait(0)
        hub.destroy(destroy_loop=True)

    in_native_thread(leave)
    made[0].notify()


def test_the_waiter_fits_the_thread() -> None:
    found: list[type] = []
    in_native_thread(lambda: found.append(type(make_waiter())))
    assert found == [ThreadWaiter]
    gevent.get_hub()
    assert type(make_waiter()) is GreenletWaiter


def test_inside_the_hub_itself_waiting_is_refused(hub: object) -> None:
    caught: list[BaseException] = []

    def callback() -> None:
        try:
            make_waiter()
        except RuntimeError as error:
            caught.append(error)

    gevent.get_hub().loop.run_callback(callback)
    gevent.sleep(0.01)
    assert len(caught) == 1


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_countdown_notifies_at_the_last(count: int) -> None:
    waiter = ThreadWaiter()
    countdown = Countdown(count, waiter)
    for _ in range(count - 1):
        countdown()
        assert waiter.wait(0) is False
    countdown()
    assert waiter.wait(0) is True


def test_a_countdown_from_many_threads() -> None:
    for _ in range(20):
        waiter = ThreadWaiter()
        countdown = Countdown(16, waiter)
        threads = [threading.Thread(target=countdown) for _ in range(16)]
        for thread in threads:
            thread.start()
        assert waiter.wait(5) is True
        for thread in threads:
            thread.join()


def test_at_exit_a_woken_thread_stays_and_the_exiting_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gwsync.limits.EXIT_STAY_S", 0.2)
    monkeypatch.setattr(waiters._Exit, "thread", get_ident())
    took: list[float] = []

    def woken() -> None:
        waiter = ThreadWaiter()
        waiter.notify()
        began = time.monotonic()
        waiter.wait(5)
        took.append(time.monotonic() - began)

    in_native_thread(woken)
    woken()
    assert took[0] >= 0.2
    assert took[1] < 0.2


class Deaf:
    """A lock that nobody releases before its ``deaf`` waits are over."""

    def __init__(self, deaf: int) -> None:
        self.waits: list[float] = []
        self._deaf = deaf

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self.waits.append(timeout)
        return len(self.waits) > self._deaf


def test_the_main_thread_looks_for_signals_while_it_waits() -> None:
    waiter = ThreadWaiter()
    lock = waiter._lock = Deaf(4)
    assert waiter.wait() is True
    assert lock.waits == [limits.SIGNAL_CHECK_S] * 5


def test_other_threads_wait_in_one_go() -> None:
    waiter = ThreadWaiter()
    lock = waiter._lock = Deaf(0)
    in_native_thread(waiter.wait)
    assert lock.waits == [-1]
