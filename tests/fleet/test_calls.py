"""A worker's calls: results, errors and outcomes are those of a connection of its own."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, Threads, eventually
from fleet.support import Fleet
from gwsync.fleet.keys import Keys
from gwsync.testing.records import GatewayRefusal

KEYS = Keys("test")


def test_a_call_and_its_answer(fleet: Fleet) -> None:
    fleet.owner()
    worker = fleet.worker()
    assert worker.request("health")["ok"] is True
    assert worker.hello().server_version
    assert worker.status().state == "connected"
    assert worker.status().url == fleet.redis.url
    assert fleet.gateway.connections_total == 1


def test_many_workers_share_one_socket(fleet: Fleet) -> None:
    fleet.owner()
    fleet.gateway.on_method("echo", lambda params: params["n"], scope="operator.read")
    workers = [fleet.worker() for _ in range(4)]

    def call(index: int) -> list[Any]:
        pairs = [("echo", {"n": index * 1000 + n}) for n in range(50)]
        return workers[index % 4].request_many(pairs)

    done = Threads(8, call).run()
    assert done.errors == []
    assert sorted(n for result in done.results for n in result) == sorted(
        i * 1000 + n for i in range(8) for n in range(50)
    )
    assert fleet.gateway.connections_total == 1
    with fleet.redis.client() as client:
        eventually(lambda: client.xlen(KEYS.calls) == 0, "no call is left in Redis")


def test_a_large_payload_goes_and_comes_in_pieces(fleet: Fleet) -> None:
    fleet.owner()
    fleet.gateway.on_method("echo", lambda params: params, scope="operator.read")
    text = "x" * 3_000_000
    assert fleet.worker().request("echo", {"text": text}) == {"text": text}


def test_the_gateways_refusal_is_the_callers(fleet: Fleet) -> None:
    fleet.owner()

    def refuse(params: Any) -> Any:
        raise GatewayRefusal("BAD", "not so", details={"a": 1}, retryable=False)

    fleet.gateway.on_method("refuse", refuse, scope="operator.read")
    worker = fleet.worker()
    with pytest.raises(gwsync.RequestError, match="not so") as caught:
        worker.request("refuse")
    assert (caught.value.code, caught.value.details) == ("BAD", {"a": 1})
    assert caught.value.outcome == "rejected"
    fleet.gateway.on_method("admin", lambda params: 1, scope="operator.admin")
    with pytest.raises(gwsync.MissingScope) as missing:
        worker.request("admin")
    assert missing.value.missing == "operator.admin"


def test_arguments_are_checked_before_anything_is_sent(fleet: Fleet) -> None:
    worker = fleet.worker()
    with pytest.raises(gwsync.ConfigError):
        worker.request("")
    with pytest.raises(gwsync.ConfigError):
        worker.request("health", timeout=-1)


def test_without_an_owner_a_call_is_not_sent(fleet: Fleet) -> None:
    with pytest.raises(gwsync.RequestTimeout) as caught:
        fleet.worker().request("health", timeout=0.5)
    assert caught.value.outcome == "not_sent"


def test_a_call_waits_for_the_owner(fleet: Fleet) -> None:
    waiting = InThread(fleet.worker().request, "health", timeout=30)
    fleet.owner()
    assert waiting.result()["ok"] is True


def test_an_answer_that_does_not_come_in_time_leaves_maybe(fleet: Fleet) -> None:
    fleet.owner()
    worker = fleet.worker()
    worker.hello()
    fleet.gateway.hold("health")
    with pytest.raises(gwsync.RequestTimeout) as caught:
        worker.request("health", timeout=0.5)
    assert caught.value.outcome == "maybe"
    fleet.gateway.release()
    with fleet.redis.client() as client:
        eventually(lambda: client.xlen(KEYS.calls) == 0, "it is forgotten in Redis")
    assert worker.request("health")["ok"] is True


def test_a_gateway_that_is_not_there_is_said_at_once(fleet: Fleet) -> None:
    url, token = fleet.gateway.url, fleet.gateway.token
    fleet.gateway.stop()
    fleet.owner(url=url, token=token)
    with pytest.raises(gwsync.TcpError) as caught:
        fleet.worker().request("health", timeout=20)
    assert caught.value.outcome == "not_sent"


def test_wrong_credentials_of_the_owner_are_the_callers_error(fleet: Fleet) -> None:
    fleet.owner(token="wrong")
    worker = fleet.worker()
    with pytest.raises(gwsync.AuthError):
        worker.request("health", timeout=20)
    assert worker.status().state == "parked"


def test_no_redis_is_said_at_once(fleet: Fleet) -> None:
    fleet.redis.stop()
    with pytest.raises(gwsync.DialError, match="Redis") as caught:
        fleet.worker().request("health", timeout=20)
    assert (caught.value.stage, caught.value.outcome) == ("redis", "not_sent")


def test_a_worker_with_another_secret_is_not_heard(fleet: Fleet) -> None:
    owner = fleet.owner()
    fleet.worker().hello()
    stranger = fleet.worker(fleet_secret="another secret of sixteen")
    with pytest.raises(gwsync.RequestTimeout):
        stranger.request("health", timeout=0.5)
    assert fleet.gateway.ledger == []
    assert owner.term is not None


def test_what_is_written_to_redis_without_the_secret_is_refused(fleet: Fleet) -> None:
    owner = fleet.owner()
    worker = fleet.worker()
    worker.hello()
    with fleet.redis.client() as client:
        client.xadd(KEYS.calls, {"d": b"x", "s": b"y", "g": b"z", "i": b"0", "n": b"1"})
        client.xadd(KEYS.calls, {"nothing": b"x"})
        client.xadd(KEYS.pushes, {"d": b"x", "s": b"y", "g": b"z", "i": b"0", "n": b"1"})
        eventually(lambda: owner.term and owner.term.serving.refused == 2, "both are refused")
        eventually(lambda: client.xlen(KEYS.calls) == 0, "and gone")
    assert worker.request("health")["ok"] is True


def test_a_copy_of_a_call_is_not_performed_again(fleet: Fleet) -> None:
    fleet.owner()
    ran: list[int] = []
    fleet.gateway.on_method("count", lambda params: ran.append(1), scope="operator.read")
    worker = fleet.worker()
    worker.hello()
    stolen: list[dict[bytes, bytes]] = []
    with fleet.redis.client() as client:
        fleet.gateway.hold("count")
        call = InThread(worker.request, "count")
        fleet.gateway.wait_requests("count")
        stolen += [fields for _, fields in client.xrange(KEYS.calls)]
        fleet.gateway.release()
        call.result()
        for entry in stolen:
            client.xadd(KEYS.calls, entry)
        eventually(lambda: client.xlen(KEYS.calls) == 0, "the copy is dealt with")
    assert worker.request("health")["ok"] is True
    assert len(ran) == 1


def test_close_ends_what_waits(fleet: Fleet) -> None:
    fleet.owner()
    worker = fleet.worker()
    worker.hello()
    fleet.gateway.hold("health")
    call = InThread(worker.request, "health")
    fleet.gateway.wait_requests("health")
    worker.close()
    with pytest.raises(gwsync.ConnectionClosed) as caught:
        call.result()
    assert caught.value.outcome == "maybe"
    with pytest.raises(gwsync.ConnectionClosed):
        worker.request("health")
    before = threading.active_count()
    worker.connect(timeout=20)
    fleet.gateway.release()
    assert worker.request("health")["ok"] is True
    assert threading.active_count() == before  # native threads are not Python's


def test_a_conversation_goes_through_the_fleet(fleet: Fleet) -> None:
    fleet.owner()
    run = fleet.worker().chat("echo:hello from a worker")
    assert run.text() == "hello from a worker"
