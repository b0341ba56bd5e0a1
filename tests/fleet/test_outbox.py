"""A worker's calls on their way to Redis: nothing of them stays behind."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

import gwsync
from conformance.tools import InThread, Threads, eventually
from fleet.support import SECRET, Fleet
from gwsync.fleet import outbox
from gwsync.fleet.channel import Channel
from gwsync.fleet.keys import GROUP, Keys
from gwsync.fleet.messages import PIECE_BYTES, CallMessage, Seal
from gwsync.fleet.outbox import Outbox
from gwsync.fleet.store import Store

KEYS = Keys("test")
MESSAGE = CallMessage(
    id="",
    worker="worker",
    method="write",
    params=b"{}",
    final=False,
    reads=False,
    keyed=False,
    left_s=60.0,
    at=0.0,
    fence=1,
    age_s=0.0,
    ask=False,
    traceparent="",
)


def channel_of(worker: gwsync.Connection) -> Channel:
    supervisor = worker._supervisor
    assert supervisor is not None
    channel = supervisor.calls.channel  # type: ignore[attr-defined]
    assert isinstance(channel, Channel)
    return channel


def test_of_calls_that_were_answered_nothing_stays(fleet: Fleet) -> None:
    fleet.owner()
    worker = fleet.worker()
    worker.hello()
    box = channel_of(worker).outbox
    done = Threads(8, lambda n: worker.request_many([("health", None)] * 50)).run()
    assert done.errors == []
    eventually(lambda: not box._entries, "no call is known any more")


def test_an_answer_may_come_before_its_writer_knows_where_the_call_is(fleet: Fleet) -> None:
    fleet.owner()
    worker = fleet.worker()
    worker.hello()
    box = channel_of(worker).outbox
    box._under_way.add("known")
    box._written("known", [b"1-0"])
    box._written("known", [b"2-0"])
    assert box._entries == {"known": [b"1-0", b"2-0"]}
    box.answered("known")
    box._written("known", [b"3-0"])
    assert not box._entries
    assert not box._under_way


def test_a_call_in_pieces_is_withdrawn_as_a_whole_or_not_at_all(fleet: Fleet) -> None:
    """Half of it would stay with the owner for ever."""
    owner = fleet.owner()
    worker = fleet.worker()
    worker.hello()
    term = owner.term
    assert term is not None
    assert term.serving is not None
    term.serving.paused = True
    eventually(lambda: term.serving and term.serving.is_drained, "it takes no more calls")
    box = channel_of(worker).outbox
    with fleet.redis.client() as client:
        call = InThread(worker.request, "health", {"text": "x" * 3 * PIECE_BYTES}, timeout=60)
        eventually(lambda: client.xlen(KEYS.calls) == 4, "all its pieces")
        client.xreadgroup(GROUP, GROUP, {KEYS.calls: ">"}, count=1)  # as the owner may
        (id,) = box._entries
        box.withdraw(id)
        eventually(lambda: id not in box._entries, "it was tried")
        assert client.xlen(KEYS.calls) == 4
        term.serving.paused = False
        assert call.result(60)["ok"] is True
        eventually(lambda: client.xlen(KEYS.calls) == 0, "nothing is left in Redis")
        assert client.xpending(KEYS.calls, GROUP)["pending"] == 0


def test_what_was_written_before_is_never_unsent(fleet: Fleet) -> None:
    """Whoever asks what became of it while Redis is away knows no more than before."""
    posted: list[tuple[Any, ...]] = []

    def unsent(id: str, full: bool) -> None: ...
    def doubted() -> None: ...

    store = Store(fleet.redis.url)
    seal = Seal(SECRET, "test")
    box = Outbox(store, KEYS, seal, lambda *what: posted.append(what), unsent, doubted)
    box.start(lambda: None, lambda: None)
    written, new = (replace(MESSAGE, id=id) for id in ("written", "new"))
    box.call(written)
    eventually(lambda: "written" in box._entries, "it is written")
    fleet.redis.stop()
    store.drop()
    box.again(written)
    eventually(lambda: posted == [(doubted,)], "it is asked for again in a while")
    box.call(new)
    box.again(new)  # of one that never got there
    eventually(lambda: len(posted) > 1, "it is unsent")
    assert set(posted) == {(doubted,), (unsent, "new", False)}
    fleet.redis.start()
    with fleet.redis.client() as client:
        client.delete(KEYS.calls)
        box.again(written)
        eventually(lambda: client.xlen(KEYS.calls) == 1, "it is written again")
    box.stop()


def test_what_there_is_no_room_for_is_unsent_unless_it_was_written(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_CALLS", 1)
    posted: list[Any] = []
    store = Store(fleet.redis.url)
    box = Outbox(
        store,
        KEYS,
        Seal(SECRET, "test"),
        lambda function, *what: posted.append((function, *what)),
        unsent=lambda id, full: None,
        doubted=lambda: None,
    )
    box.start(lambda: None, lambda: None)
    box.call(replace(MESSAGE, id="first"))
    box.call(replace(MESSAGE, id="second"))
    eventually(lambda: posted == [(box._unsent, "second", True)], "there is no room")
    box.again(replace(MESSAGE, id="first"))
    eventually(lambda: posted[1:] == [(box._doubted,)], "and a doubt, not an end")
    box.stop()
