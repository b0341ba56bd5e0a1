"""The inbox of a hub: what other threads put there is done, and the loop's own count stays true."""

from __future__ import annotations

import sys
import threading
import time

import gevent
import pytest

from conformance.tools import InThread
from gwsync.runtime.inbox import Inbox


def hammered() -> tuple[int, int, int]:
    """On a hub of this thread's own: jobs posted, jobs run, and by how much the loop miscounts."""
    loop = gevent.get_hub().loop
    inbox, over, ran = Inbox(loop, ref=False), threading.Event(), [0]
    active = loop.activecnt
    posted: list[None] = []

    def count() -> None:
        ran[0] += 1

    def post() -> None:
        while not over.is_set():
            inbox.call_soon(count)
            posted.append(None)
            while len(posted) - ran[0] > 1000 and not over.is_set():
                time.sleep(0)

    threads = [threading.Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2000):  # timers start and end: the loop counts
            gevent.sleep(0.0001)
    finally:
        over.set()
    while not inbox.idle or any(thread.is_alive() for thread in threads):
        gevent.sleep(0.001)
    inbox.close()
    return len(posted), ran[0], loop.activecnt - active


def test_many_threads_do_not_disturb_the_loops_own_count() -> None:
    """gevent's run_callback_threadsafe fails this one: it and the loop, which holds no GIL,
    count at the same time, and what is lost ends a hub in LoopExit sooner or later."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        posted, ran, miscounted = InThread(hammered).result(60)
    finally:
        sys.setswitchinterval(before)
    assert posted == ran > 0
    assert miscounted == 0


def test_only_an_inbox_that_says_so_keeps_the_hub_waiting() -> None:
    inbox = Inbox(gevent.get_hub().loop, ref=False)
    with pytest.raises(gevent.exceptions.LoopExit):
        gevent.get_hub().switch()
    inbox.close()
    inbox = Inbox(gevent.get_hub().loop, ref=True)
    timer = threading.Timer(0.05, inbox.call_soon, [gevent.getcurrent().switch, "posted"])
    timer.start()
    assert gevent.get_hub().switch() == "posted"
    timer.join()
    inbox.close()


def test_jobs_that_beget_jobs_do_not_keep_the_loop() -> None:
    inbox, rounds = Inbox(gevent.get_hub().loop, ref=False), [0]

    def again() -> None:
        rounds[0] += 1
        if rounds[0] < 1_000_000 and not over:
            inbox.call_soon(again)

    over: list[bool] = []
    inbox.call_soon(again)
    with gevent.Timeout(30):
        while rounds[0] < 3:
            gevent.sleep(0.001)
    over.append(True)
    assert rounds[0] < 1_000_000
    with gevent.Timeout(30):
        while not inbox.idle:
            gevent.sleep(0.001)
    inbox.close()


def test_a_ctrl_c_in_one_job_leaves_the_others_to_be_run() -> None:
    def press() -> None:
        raise KeyboardInterrupt

    def pressed() -> list[str]:
        inbox, ran = Inbox(gevent.get_hub().loop, ref=False), []
        for job in (press, lambda: ran.append("next"), lambda: ran.append("last")):
            inbox.call_soon(job)
        with pytest.raises(KeyboardInterrupt), gevent.Timeout(30):
            gevent.sleep(20)
        with gevent.Timeout(5, False):
            while not inbox.idle:
                gevent.sleep(0.001)
        inbox.close()
        return ran

    assert InThread(pressed).result() == ["next", "last"]


def test_a_loop_that_is_gone_takes_nothing() -> None:
    taken: list[bool] = []

    def elsewhere() -> None:
        hub = gevent.get_hub()
        inbox = Inbox(hub.loop, ref=True)
        hub.destroy(destroy_loop=True)
        taken.extend(inbox.call_soon(print) for _ in range(2))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert taken == [False, False]
