"""A worker's calls on their way into the owner's stream, and out of it again where nobody has
had them. A thread of its own; it knows nothing of callers.
"""

from __future__ import annotations

import logging
from _queue import Empty, SimpleQueue
from collections.abc import Callable, Sequence
from typing import Any

from .keys import GROUP, Keys
from .lease import sleepless
from .messages import CallMessage, Seal, pack
from .store import RedisDown, Store
from .threads import Flag, FleetThread

log = logging.getLogger("gwsync.fleet")
MAX_CALLS = 10_000  # in the stream, of all workers
AGAIN_S = 0.25  # between tries while Redis is away

_SUBMIT = """
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return {} end
local ids = {}
for at = 2, #ARGV, 5 do
    ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'd', ARGV[at], 's', ARGV[at + 1],
        'g', ARGV[at + 2], 'i', ARGV[at + 3], 'n', ARGV[at + 4])
end
return ids
"""
# Only a call of which nobody was given anything: of others nobody can say that they do not
# run, and half a call would stay with the owner for ever.
_WITHDRAW = """
for at = 2, #ARGV do
    local given = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1)
    if #given > 0 then return 0 end
end
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
"""


class Outbox:
    """Of one channel. ``post(function, *args)`` runs on the hub thread: ``unsent`` of a call
    that was certainly not written, ``doubted`` where that is not certain."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        seal: Seal,
        post: Callable[..., None],
        unsent: Callable[[str, bool], None],
        doubted: Callable[[], None],
    ) -> None:
        self.frames_out = self.bytes_out = 0
        self.clock_ahead_s = 0.0  # Redis's before ours, as its reader knows
        self._store, self._keys, self._seal = store, keys, seal
        self._post, self._unsent, self._doubted = post, unsent, doubted
        self._outgoing: SimpleQueue[tuple[str, Any] | None] = SimpleQueue()
        self._under_way: set[str] = set()  # calls that were neither answered nor withdrawn
        self._entries: dict[str, list[bytes]] = {}  # theirs
        self._doubtful: set[str] = set()  # of those that are being written: see again()
        self._stop = Flag()

    def start(self, stop: Callable[[], None], ended: Callable[[], None]) -> None:
        FleetThread(self._write, stop, ended)

    # -- any thread -----------------------------------------------------------------------
    def call(self, message: CallMessage) -> None:
        self._under_way.add(message.id)
        self._outgoing.put(("call", message))

    def again(self, message: CallMessage) -> None:
        """A call that was written, or may have been: whatever becomes of this, it is not unsent."""
        self._outgoing.put(("again", message))

    def withdraw(self, id: str) -> None:
        """Take a call back, if the owner has not been given it."""
        self._outgoing.put(("withdraw", id))

    def answered(self, id: str) -> None:
        self._under_way.discard(id)
        self._entries.pop(id, None)

    def stop(self) -> None:
        self._stop.raise_()
        self._outgoing.put(None)

    # -- its thread -----------------------------------------------------------------------
    def _write(self) -> None:
        try:
            while not self._stop.is_up():
                job = self._outgoing.get()
                jobs = [job]
                while job is not None and len(jobs) < 100:
                    try:
                        job = self._outgoing.get_nowait()
                    except Empty:
                        break
                    jobs.append(job)
                self._write_jobs([job for job in jobs if job is not None])
        finally:
            self._store.close()

    def _write_jobs(self, jobs: Sequence[tuple[str, Any]]) -> None:
        ids = {
            what for kind, what in jobs if kind == "withdraw"
        }  # given up, perhaps before it left
        calls = [(kind, what) for kind, what in jobs if kind != "withdraw" and what.id not in ids]
        messages = [message for _, message in calls]
        first = {message.id for kind, message in calls if kind == "call"}
        self._doubtful = {message.id for message in messages} - first
        try:
            if messages:
                with self._store.told():
                    _ = self._store.client  # which opens the connection
        except RedisDown:
            for message in messages:  # there was no connection: it certainly was not written
                self._not_written(message.id, full=False)
            self._stop.wait(AGAIN_S)
            if self._doubtful:
                self._post(self._doubted)
            return
        try:
            self._submit(messages)
            self._withdraw(ids)
        except RedisDown as error:
            # They may be there, or not: when Redis is back, the owner is asked by their ids.
            log.info("%s; %d calls may have been written", error, len(messages))
            self._post(self._doubted)

    def _submit(self, messages: Sequence[CallMessage]) -> None:
        if not messages:
            return
        with self._store.told():
            pipeline = self._store.client.pipeline(transaction=False)
            for message in messages:
                message.at = sleepless() + self.clock_ahead_s
                entries = self._seal.entries(self._keys.calls, pack(message))
                flat = [one[name] for one in entries for name in (b"d", b"s", b"g", b"i", b"n")]
                pipeline.eval(_SUBMIT, 1, self._keys.calls, MAX_CALLS, *flat)
                self.bytes_out += sum(map(len, flat))
            self.frames_out += len(messages)
            results = pipeline.execute(raise_on_error=False)
        for message, result in zip(messages, results, strict=True):
            if isinstance(result, list) and result:
                self._written(message.id, result)
            else:
                self._not_written(message.id, full=result == [])
        if any(result == [] for result in results) and self._doubtful:
            self._stop.wait(AGAIN_S)  # until there is room
            self._post(self._doubted)
        for result in results:
            if isinstance(result, Exception):  # by this Redis; perhaps there is another by now
                with self._store.told():
                    raise result

    def _written(self, id: str, entries: list[bytes]) -> None:
        self._entries[id] = self._entries.get(id, []) + entries
        if id not in self._under_way:  # its answer was here before
            self._entries.pop(id, None)

    def _not_written(self, id: str, *, full: bool) -> None:
        if id not in self._doubtful:  # else an earlier writing of it may be under way
            self._under_way.discard(id)
            self._post(self._unsent, id, full)

    def _withdraw(self, ids: set[str]) -> None:
        self._under_way -= ids
        calls = [entries for id in ids if (entries := self._entries.pop(id, None))]
        if calls:
            with self._store.told():
                pipeline = self._store.client.pipeline(transaction=False)
                for entries in calls:
                    pipeline.eval(_WITHDRAW, 1, self._keys.calls, GROUP, *entries)
                pipeline.execute()
