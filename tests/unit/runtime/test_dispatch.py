"""Workers and lanes: every job runs once, a lane's one after another."""

from __future__ import annotations

import threading
import time
from collections import deque

import gevent
import pytest

from gwsync.runtime import dispatch
from gwsync.runtime.dispatch import HubRunner, Lane, NativeRunner, Workers, runner_here
from gwsync.runtime.native import is_patched


class Work:
    """A queue, a lane that empties it, and what came out."""

    def __init__(self, workers: Workers) -> None:
        self.items: deque[int] = deque()
        self.done: list[int] = []
        self.overlap = 0
        self._inside = 0
        runner = NativeRunner()
        runner.run = workers.submit  # type: ignore[method-assign]
        self.lane = Lane(self._step, lambda: bool(self.items), runner)

    def put(self, item: int) -> None:
        self.items.append(item)
        self.lane.kick()

    def _step(self) -> None:
        self._inside += 1
        self.overlap = max(self.overlap, self._inside)
        self.done.append(self.items.popleft())
        self._inside -= 1

    def wait(self, count: int) -> None:
        end = time.monotonic() + 10
        while len(self.done) < count:
            assert time.monotonic() < end, f"{len(self.done)} of {count}"
            time.sleep(0.001)


def test_a_lane_runs_one_after_another_and_loses_nothing() -> None:
    workers = Workers()
    work = Work(workers)
    threads = [
        threading.Thread(target=lambda s=s: [work.put(s * 1000 + n) for n in range(500)])
        for s in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work.wait(3000)
    assert sorted(work.done) == sorted(s * 1000 + n for s in range(6) for n in range(500))
    assert work.overlap == 1


def test_a_kick_at_the_very_end_of_a_run_is_not_lost() -> None:
    workers = Workers()
    work = Work(workers)
    for n in range(2000):
        work.put(n)
        work.wait(n + 1)
    assert work.done == list(range(2000))


def test_blocked_jobs_do_not_hold_others_up() -> None:
    workers = Workers()
    go = threading.Event()
    entered = [threading.Event() for _ in range(20)]
    for event in entered:
        workers.submit(lambda event=event: (event.set(), go.wait(10)))
    for event in entered:
        assert event.wait(5)
    done = threading.Event()
    workers.submit(done.set)
    assert done.wait(5)
    go.set()


def test_an_idle_worker_is_used_again() -> None:
    workers = Workers()
    used: list[int] = []
    for _ in range(50):
        done = threading.Event()
        workers.submit(lambda done=done: (used.append(threading.get_ident()), done.set()))
        assert done.wait(5)
        end = time.monotonic() + 5
        while not workers._idle:
            assert time.monotonic() < end
            time.sleep(0.0005)
    assert len(set(used)) == 1


def test_workers_leave_after_idling_and_no_job_is_lost_to_one_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Jobs come just when workers time out."""
    monkeypatch.setattr("gwsync.limits.WORKER_IDLE_S", 0.002)
    workers = Workers()
    done: list[int] = []
    for n in range(300):
        workers.submit(lambda n=n: done.append(n))
        time.sleep(0.002)
    end = time.monotonic() + 5
    while len(done) < 300 or workers._idle:
        assert time.monotonic() < end, (len(done), workers._idle)
        time.sleep(0.001)
    assert sorted(done) == list(range(300))


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt, gevent.GreenletExit])
def test_a_worker_outlives_what_a_job_raises(
    raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    workers = Workers()

    def broken() -> None:
        raise raised

    workers.submit(broken)
    done = threading.Event()
    workers.submit(done.set)
    assert done.wait(5)
    end = time.monotonic() + 5
    while not caplog.records:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_plain_process_has_native_callbacks() -> None:
    assert not is_patched()
    assert isinstance(runner_here(), NativeRunner)


def test_a_hubs_runner_runs_there_and_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "is_patched", lambda: True)
    runner = runner_here()
    assert isinstance(runner, HubRunner)
    seen: list[bool] = []
    main = gevent.get_hub()
    thread = threading.Thread(
        target=lambda: runner.run(lambda: seen.append(gevent.get_hub() is main))
    )
    thread.start()
    thread.join()
    end = time.monotonic() + 5
    while not seen:
        assert time.monotonic() < end
        gevent.sleep(0.001)
    assert seen == [True]
    runner.stop()
    runner.stop()
    while runner._keeper is not None:
        assert time.monotonic() < end
        gevent.sleep(0.001)
    runner.run(lambda: seen.append(gevent.get_hub() is main))  # still there after that
    while len(seen) < 2:
        assert time.monotonic() < end
        gevent.sleep(0.001)
    assert seen == [True, True]


def test_a_runner_whose_hub_is_gone_uses_a_native_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[HubRunner] = []

    def leave() -> None:
        made.append(HubRunner())
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    done = threading.Event()
    made[0].run(done.set)
    assert done.wait(5)
    made[0].stop()


def test_a_flood_on_a_hub_lets_its_other_greenlets_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "is_patched", lambda: True)
    runner = runner_here()
    ticks: list[int] = []
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        time.sleep(0.001)

    def tick() -> None:
        while len(ticks) < 10:
            gevent.sleep(0.001)
            ticks.append(steps)

    end = time.monotonic() + 20
    ticker = gevent.spawn(tick)
    lane = Lane(step, lambda: len(ticks) < 10 and time.monotonic() < end, runner)
    lane.kick()
    gevent.joinall([ticker], timeout=20)
    assert len(ticks) == 10
    assert ticks[-1] > ticks[0]  # it ran while there were steps
    runner.stop()


def test_where_no_thread_can_be_started_the_next_kick_tries_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(Workers())

    def refuse(*args: object) -> int:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "start_new_thread", refuse)
        work.put(1)
    assert "nothing can run a gwsync callback now" in caplog.text
    assert not work.lane.busy
    work.put(2)
    work.wait(2)
    assert work.done == [1, 2]
