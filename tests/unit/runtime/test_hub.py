"""The hub thread: work in order from any thread, and a certain end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import gevent
import pytest

from gwsync.runtime import offload
from gwsync.runtime.hub import HubThread


@pytest.fixture
def hub() -> Iterator[HubThread]:
    thread = HubThread("test-hub")
    yield thread
    assert thread.stop(5)


def test_jobs_run_there_in_order(hub: HubThread) -> None:
    seen: list[tuple[int, bool]] = []
    done = threading.Event()
    for n in range(100):
        hub.call_soon(lambda n=n: seen.append((n, hub.here)))
    hub.call_soon(done.set)
    assert done.wait(5)
    assert seen == [(n, True) for n in range(100)]
    assert not hub.here


def test_jobs_of_many_threads_all_run(hub: HubThread) -> None:
    seen: list[int] = []

    def post(start: int) -> None:
        for n in range(500):
            hub.call_soon(seen.append, start + n)

    threads = [threading.Thread(target=post, args=(index * 1000,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = threading.Event()
    hub.call_soon(done.set)
    assert done.wait(5)
    assert len(seen) == 4000
    for index in range(8):
        mine = [n for n in seen if n // 1000 == index]
        assert mine == sorted(mine)


def test_a_job_that_raises_is_logged_and_costs_only_itself(
    hub: HubThread, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()
    hub.call_soon(lambda: 1 / 0)
    hub.call_soon(done.set)
    assert done.wait(5)
    assert any("internal error" in record.getMessage() for record in caplog.records)
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_greenlets_may_block_and_others_go_on(hub: HubThread) -> None:
    order: list[str] = []
    done = threading.Event()

    def slow() -> None:
        gevent.sleep(0.05)
        order.append("slow")
        done.set()

    hub.spawn(slow)
    hub.spawn(order.append, "quick")
    assert done.wait(5)
    assert order == ["quick", "slow"]


def test_stopping_kills_what_runs_and_is_idempotent() -> None:
    hub = HubThread()
    entered, killed = threading.Event(), threading.Event()

    def forever() -> None:
        entered.set()
        try:
            gevent.sleep(100)
        finally:
            killed.set()

    hub.spawn(forever)
    assert entered.wait(5)
    assert not hub.stopping
    assert hub.stop(5)
    assert hub.stopping
    assert killed.is_set()
    assert hub.stop(0.1)
    hub.call_soon(entered.clear)  # into the void, without an error
    hub.spawn(entered.clear)
    assert entered.is_set()


def test_it_cannot_stop_itself(hub: HubThread) -> None:
    caught: list[BaseException] = []
    done = threading.Event()

    def stop() -> None:
        try:
            hub.stop()
        except RuntimeError as error:
            caught.append(error)
        done.set()

    hub.call_soon(stop)
    assert done.wait(5)
    assert len(caught) == 1
    assert not hub.stopping


def test_many_come_and_go() -> None:
    before = threading.active_count()
    for _ in range(50):
        hub = HubThread()
        assert hub.stop(5)
    assert threading.active_count() <= before + 1


def test_offloaded_work_comes_back_with_its_result_or_error(hub: HubThread) -> None:
    results: list[object] = []
    done = threading.Event()

    def work() -> None:
        results.append(offload.run(hub, lambda x: x * 2, 21))
        try:
            offload.run(hub, lambda: {}["missing"])
        except KeyError as error:
            results.append(error.args)
        results.append(offload.run(hub, lambda: hub.here))
        done.set()

    hub.spawn(work)
    assert done.wait(5)
    assert results == [42, ("missing",), False]


def test_offloaded_work_does_not_hold_the_hub_up(hub: HubThread) -> None:
    go, done = threading.Event(), threading.Event()
    results: list[str] = []

    def slow() -> None:
        offload.run(hub, go.wait, 5)
        results.append("slow")
        done.set()

    def quick() -> None:
        results.append("quick")
        go.set()

    hub.spawn(slow)
    hub.spawn(quick)
    assert done.wait(5)
    assert results == ["quick", "slow"]
