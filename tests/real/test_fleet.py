"""A fleet at a real gateway: the cases of any connection, and what only a fleet can suffer."""

from __future__ import annotations

import faulthandler
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import gwsync
from conformance.approvals import *  # noqa: F403
from conformance.cases import *  # noqa: F403
from conformance.fixtures import *  # noqa: F403
from conformance.sessions import *  # noqa: F403
from conformance.tools import Log, eventually
from fleet.conforming import *  # noqa: F403
from fleet.support import Fleet
from real.runner import RealGateway
from real.test_chat import said, words

pytestmark = pytest.mark.timeout(400)  # with the start of a gateway on a busy machine


@pytest.fixture
def fleet(gateway: RealGateway, tmp_path: Path) -> Iterator[Fleet]:
    faulthandler.cancel_dump_traceback_later()
    with Fleet(tmp_path, gateway=gateway) as made:
        yield made


def test_an_answer_survives_its_owners_kill(fleet: Fleet) -> None:
    first = fleet.owner_process()
    first.expect("owner")
    fleet.owner_process()
    worker, other = fleet.worker(request_timeout=90), fleet.worker(request_timeout=90)
    text = words(random.Random(11), 150)
    run = worker.chat(said(text, 40), "agent:main:owner-killed")
    heard = [str(next(iter(run)))]
    followed = other.follow(run.run_id)
    first.kill()
    assert "".join(followed) == text
    assert run.text() == text == "".join(run)
    assert text.startswith(heard[0])
    assert worker.status().reconnects == 1


@pytest.mark.parametrize("kept", [False, True], ids=["forgets", "remembers"])
def test_an_answer_survives_redis(gateway: RealGateway, tmp_path: Path, kept: bool) -> None:
    faulthandler.cancel_dump_traceback_later()
    options = ("--appendonly", "yes", "--appendfsync", "always") if kept else ()
    with Fleet(tmp_path, *options, gateway=gateway) as fleet:
        fleet.owner_process().expect("owner")
        worker, other = fleet.worker(request_timeout=90), fleet.worker(request_timeout=90)
        text = words(random.Random(12), 150)
        run = worker.chat(said(text, 40), f"agent:main:redis-{kept}")
        next(iter(run))
        fleet.redis.stop(signal.SIGKILL)
        fleet.redis.start()
        assert other.follow(run.run_id, patience=30).text() == text
        assert run.text() == text == "".join(run)
        assert worker.request("health", timeout=60)["ok"] is True


def test_two_workers_hear_the_same(fleet: Fleet, gateway: RealGateway) -> None:
    fleet.owner_process().expect("owner")
    workers = [fleet.worker() for _ in range(2)]
    logs = [Log() for _ in workers]
    for worker, log in zip(workers, logs, strict=True):
        worker.subscribe(log, "presence", "chat")
        log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    assert len({worker.hello().conn_id for worker in workers}) == 1
    with gateway.join_test_client():
        for log in logs:
            log.wait(lambda push: push.name == "presence", "somebody came")
    text = words(random.Random(13), 40)
    assert workers[0].chat(said(text, 10), "agent:main:both").text() == text

    def chats(log: Log) -> list[object]:
        return [push.payload for push in log.pushes if push.name == "chat"]

    eventually(lambda: chats(logs[0]) == chats(logs[1]) != [], "both heard it")
    assert not any(isinstance(push, (gwsync.SeqGap, gwsync.Dropped)) for push in logs[1].pushes)
