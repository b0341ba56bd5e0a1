"""A worker's calls on their way to Redis: nothing of them stays behind."""

from __future__ import annotations

import gwsync
from conformance.tools import InThread, Threads, eventually
from gwsync.fleet.channel import Channel
from gwsync.fleet.keys import GROUP, Keys
from gwsync.fleet.messages import PIECE_BYTES

from .support import Fleet

KEYS = Keys("test")


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
