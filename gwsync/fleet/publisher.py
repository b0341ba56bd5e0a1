"""What the owner writes to Redis: pushes, replies, and that calls are done with.

One thread, in order, in as few round trips as possible. Pushes are written by a script that
looks at the lease first, so a former owner's never come between its successor's.
"""

from __future__ import annotations

import logging
from _queue import Empty, SimpleQueue
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..values import Dropped, Push
from .keys import GROUP, REPLY_TTL_S, Keys
from .lease import Lease
from .messages import MAX_BYTES, Batch, Entry, Reply, Seal, View, pack
from .pushes import Aside, dump_push
from .reasons import is_passing
from .store import RedisDown, Store
from .threads import Flag, FleetThread

log = logging.getLogger("gwsync.fleet")
MAX_ENTRIES = 4096  # of the stream of pushes; what is older is Dropped for who has not read it
BATCH_PUSHES, BATCH_BYTES = 500, 64 * 1024  # in one entry
BACKLOG = 100_000  # pushes that wait for Redis; more are lost, and Dropped for everybody
BACKLOG_BYTES = 64 * 1024 * 1024
TRIP_BYTES = 4 * 1024 * 1024  # of payloads in one round trip, or one that is larger
_RETRY_S = 0.1

_PUBLISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local id = ''
for at = 6, #ARGV, 5 do
    id = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'd', ARGV[at], 's', ARGV[at + 1],
        'g', ARGV[at + 2], 'i', ARGV[at + 3], 'n', ARGV[at + 4])
end
redis.call('HSET', KEYS[2], 'next', ARGV[3])
if ARGV[4] ~= '' then
    if id == '' then
        local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
        id = last[1] and last[1][1] or '0-0'
    end
    redis.call('HSET', KEYS[4], 'd', ARGV[4], 's', ARGV[5], 'id', id)
end
return 1
"""


@dataclass
class _Work:
    """What one round trip takes along."""

    pushes: list[Push | Aside] = field(default_factory=list)
    view: View | None = None
    replies: list[tuple[str, bytes]] = field(default_factory=list)
    done: list[bytes] = field(default_factory=list)  # entries of calls
    size: int = 0  # of payloads, in bytes
    left_out: int = 0  # pushes that were lost behind those

    @property
    def is_full(self) -> bool:
        most = max(len(self.pushes), len(self.replies))
        # A view is as of the pushes before it, and of none that come later.
        ends = self.view is not None or self.left_out > 0
        return ends or most >= BATCH_PUSHES or self.size >= TRIP_BYTES

    @property
    def shown(self) -> bool:
        """Whether workers hear of it in the stream, or by how things stand."""
        return bool(self.pushes) or self.view is not None


class Publisher:
    """Of one term of ownership; anything may be given to it from any thread."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        seal: Seal,
        lease: Lease,
    ) -> None:
        self._store, self._keys, self._seal, self._lease = store, keys, seal, lease
        self._next = lease.first
        self._queue: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._stop = Flag()
        self._flag = False
        self._given = self._taken = 0  # pushes, each counted by one thread only
        self._given_bytes = self._taken_bytes = 0
        self.published = self.lost = 0
        self.flushed = False  # it has ended, and everything was written
        self.thread = FleetThread(self._run, self.stop)

    @property
    def waiting(self) -> int:
        """Pushes that were given and not taken yet."""
        return self._given - self._taken

    @property
    def next(self) -> int:
        """The number of the next push, once its thread has ended."""
        return self._next

    def push(self, pushes: Sequence[Push | Aside], view: View | None = None, size: int = 0) -> None:
        """``view``: how things stand after them; its number is filled in. ``size``: of what they
        carry, in bytes. By one thread."""
        self._given += len(pushes)
        self._given_bytes += size
        self._queue.put(("push", (pushes, view, size)))

    def reply(self, worker: str, reply: Reply, done: Sequence[bytes] = ()) -> bytes:
        body = pack(reply)
        self.resend(worker, body, done)
        return body

    def resend(self, worker: str, body: bytes, done: Sequence[bytes] = ()) -> None:
        self._queue.put(("reply", (worker, body, list(done))))

    def done(self, ids: Sequence[bytes]) -> None:
        self._queue.put(("done", list(ids)))

    def stop(self) -> None:
        """What was given so far is still written, if Redis is there."""
        self._queue.put(("stop", None))
        self._stop.raise_()

    # -- its thread -------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            while True:
                work, last = self._gather()
                while not self._write(work):
                    if self._stop.wait(_RETRY_S):
                        return
                if last:
                    self.flushed = True
                    return
        finally:
            self._store.close()

    def _gather(self) -> tuple[_Work, bool]:
        work = _Work()
        kind, what = self._queue.get()
        while True:
            if kind == "stop":
                return work, True
            self._take(work, kind, what)
            if work.is_full:
                return work, False
            try:
                kind, what = self._queue.get_nowait()
            except Empty:
                return work, False

    def _take(self, work: _Work, kind: str, what: Any) -> None:
        if kind == "push":
            pushes, view, size = what
            self._taken += len(pushes)
            self._taken_bytes += size
            behind = self._given_bytes - self._taken_bytes > BACKLOG_BYTES
            # Numbered all the same: who reads sees the gap. What comes with a view says how
            # things stand, and is never left out.
            if view is None and (behind or self.waiting > BACKLOG):
                work.left_out += len(pushes)
                self.lost += len(pushes)
            else:
                work.pushes += pushes
                work.size += size
            if view is not None:
                work.view = view
        elif kind == "reply":
            worker, body, done = what
            work.replies.append((worker, body))
            work.size += len(body)
            work.done += done
        else:
            work.done += what

    def _write(self, work: _Work) -> bool:
        """False: try again, it is not certain that it was written; numbers make it harmless."""
        keys = self._keys
        try:
            with self._store.told():
                pipeline = self._store.client.pipeline(transaction=True)
                if work.shown:
                    self._add_pushes(pipeline, work)
                for worker, body in work.replies:
                    place = keys.replies(worker)
                    for entry in self._seal.entries(place, body):
                        pipeline.xadd(place, entry)
                    pipeline.expire(place, REPLY_TTL_S)
                if work.done:
                    pipeline.xack(keys.calls, GROUP, *work.done)
                    pipeline.xdel(keys.calls, *work.done)
                if len(pipeline):
                    results = pipeline.execute(raise_on_error=False)
                    _complain(results)
                    if work.shown and results[0] == 0 and self._lease.holds():
                        return False  # Redis forgot the lease; it is put back in a moment
        except RedisDown as error:
            if not self._flag:
                log.warning("%s; the fleet's owner waits for it", error)
            self._flag = True
            return False
        self._flag = False
        self._next += len(work.pushes) + work.left_out
        self.published += len(work.pushes)
        return True

    def _add_pushes(self, pipeline: Any, work: _Work) -> None:
        keys = self._keys
        entries: list[Entry] = []
        number = self._next
        for dumped in _cut(work.pushes):
            body = pack(Batch(self._lease.fence, number, dumped))
            entries += self._seal.entries(keys.pushes, body)
            number += len(dumped)
        view = sig = b""
        if work.view is not None:
            work.view.next, work.view.at = number, self._lease.fleet_now()
            view = pack(work.view)
            sig = self._seal.sign(keys.snapshot, view)
        flat = [entry[name] for entry in entries for name in (b"d", b"s", b"g", b"i", b"n")]
        names = [keys.lease, keys.fence, keys.pushes, keys.snapshot]
        lease = self._lease.value
        pipeline.eval(_PUBLISH, 4, *names, lease, MAX_ENTRIES, number, view, sig, *flat)


def _complain(results: Sequence[Any]) -> None:
    """Of what Redis refused for good; what another one or a later time takes is raised."""
    for result in results:
        if isinstance(result, Exception) and "NOGROUP" not in str(result):
            if is_passing(result):
                raise result
            log.error("Redis refused what the fleet's owner wrote: %s", result)


def _cut(pushes: Sequence[Push | Aside]) -> list[list[Any]]:
    """Batches that are not too large."""
    batches: list[list[Any]] = []
    size = 0
    for push in pushes:
        try:
            dumped = dump_push(push)
            if len(pack(Batch(0, 0, [dumped]))) > MAX_BYTES:
                raise ValueError("it is larger than a fleet carries")
        except Exception:  # a payload that is no JSON: whoever would look at it learns of it
            log.exception("a push of the gateway cannot be passed on")
            dumped = dump_push(Dropped(1))
        weight = 64 + sum(len(part) for part in dumped if isinstance(part, (str, bytes)))
        if not batches or size + weight > BATCH_BYTES or len(batches[-1]) >= BATCH_PUSHES:
            batches.append([])
            size = 0
        batches[-1].append(dumped)
        size += weight
    return batches
