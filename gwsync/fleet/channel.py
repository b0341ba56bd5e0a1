"""A worker's way to Redis: a thread that reads its replies and the pushes, and an outbox.

What they find they post to the hub thread, where the worker lives; they know nothing of
calls or subscriptions.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..config import Config, ReconnectPolicy
from ..errors import GatewayError
from .keys import REPLY_TTL_S, Keys
from .lease import fence_of, number_of, sleepless
from .messages import (
    Assembler,
    Batch,
    Forged,
    Reply,
    Seal,
    View,
    is_timely,
    unpack,
)
from .outbox import Outbox
from .store import Moved, RedisDown, Store
from .threads import Flag, FleetThread, Signal, log
from .views import verified_view

LOOK_S = 0.25  # how often it looks whether there is an owner
BEAT_S, BEAT_TTL_S = 5.0, 15
AWAY_S = REPLY_TTL_S - 2 * BEAT_S
ENTRIES = 64  # read at once
_ID = re.compile(rb"[0-9]{1,18}-[0-9]{1,18}")
MOVED_S = 0.01  # while two nodes of a cluster send us to one another


@dataclass
class Found:
    """One look at Redis: what there was, in order."""

    view: View | None = None  # if it is wanted
    forged: bool = False  # there is one, and it is not signed with our secret
    caught_up: bool = False  # the stream had no more
    batches: list[Batch] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    fence: int | None = None  # of the owner there is; 0: there is none; None: not looked
    bytes_in: int = 0


class Channel:
    """Of one life of a worker. ``post(function, *args)`` runs on the hub thread."""

    def __init__(
        self,
        config: Config,
        worker: str,
        post: Callable[..., None],
        found: Callable[[Found], None],
        down: Callable[[GatewayError, float], None],
        unsent: Callable[[str, bool], None],
        doubted: Callable[[], None],
    ) -> None:
        self.frames_in = self.bytes_in = 0
        self.ended = False
        self.heard = 0  # how far: the number of the next push
        self._published = 0  # up to there, as of the last look
        self._post, self._found, self._down = post, found, down
        self._doubted = doubted
        self.wants_view = True  # how things stand is not known
        self._keys = Keys(config.fleet or "")
        self._seal = Seal(config.fleet_secret or "", config.fleet or "")
        self._worker = worker
        self._place = self._keys.replies(worker)
        self._policy: ReconnectPolicy = config.reconnect
        self._reading = Store(config.url, config.redis_password)
        self._writing = Store(config.url, config.redis_password)
        self._stop = Flag()
        self._last_push: bytes | None = None
        self._last_reply = b"0"
        self._looked_at = 0.0
        self._beaten_at = self._kept_at = -BEAT_S
        self._running = 2
        self._when_over: Callable[[], None] = lambda: None
        self.outbox = Outbox(self._writing, self._keys, self._seal, post, unsent, doubted)
        FleetThread(self._read, self.stop, self._one_ended)
        self.outbox.start(self.stop, self._one_ended)

    @property
    def frames_out(self) -> int:
        return self.outbox.frames_out

    @property
    def bytes_out(self) -> int:
        return self.outbox.bytes_out

    # -- any thread -----------------------------------------------------------------------
    def look_at_clock(self) -> None:
        """What it thinks of Redis's was perhaps wrong: with the next look."""
        self._beaten_at = -BEAT_S

    def stop(self) -> None:
        self.ended = True
        self._stop.raise_()
        self.outbox.stop()
        self._reading.interrupt()

    def when_over(self, notify: Callable[[], None]) -> None:
        self._when_over = notify
        if not self._running:
            notify()

    def _one_ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._when_over()

    def detach_after_fork(self) -> int:
        """In a forked child: a descriptor to be closed; the other one is, here."""
        self.ended = True
        fds = [fd for fd in (self._reading.fileno(), self._writing.fileno()) if fd is not None]
        for fd in fds[1:]:
            os.close(fd)
        return fds[0] if fds else -1

    # -- the reader ---------------------------------------------------------------------------
    def _read(self) -> None:
        failures = 0
        try:
            while not self._stop.is_up():
                try:
                    found = self._begin()
                    while not self._stop.is_up():
                        failures = 0
                        self._hand_over(found)
                        found = self._look()
                except Moved:
                    self._stop.wait(MOVED_S)
                except RedisDown as error:
                    if self._stop.is_up():
                        return
                    delay = self._policy.delay(failures)
                    failures += 1
                    self._post(self._down, error, delay)
                    self._stop.wait(delay)
                except GatewayError as error:  # no redis-py, or a URL that it cannot read
                    self._post(self._down, error, -1.0)
                    return
        finally:
            self._reading.close()

    def _hand_over(self, found: Found) -> None:
        """And wait until it was dealt with: memory is bounded by what is read at once."""
        dealt = Signal()

        def deal() -> None:
            try:
                self._found(found)
            finally:
                dealt.notify()

        self._post(deal)
        while not dealt.wait(0.1) and not self._stop.is_up():
            pass

    def _begin(self) -> Found:
        """How things stand; where it goes on is known from before, if there was a before."""
        self._parts = Assembler(self._seal, self._keys.pushes)
        self._answers = Assembler(self._seal, self._place)
        self.look_at_clock()  # it may be another Redis
        found = Found()
        store, keys = self._reading, self._keys
        with store.told():
            snapshot = store.client.hgetall(keys.snapshot)
            last = store.client.xrevrange(keys.pushes, count=1)
            self._look_at_lease(store, found)
            newest, answered = self._newest(keys.pushes), self._newest(self._place)
        where = _where(snapshot, newest) or (last[0][0] if last and not snapshot else b"0-0")
        if self._last_push is None or _order(newest) < _order(self._last_push):
            self._last_push = where  # the first time, or Redis forgot what there was
        if _order(answered) < _order(self._last_reply):
            self._last_reply = b"0"  # and its clock may be behind the one that numbered before
        self._view(snapshot, found)
        found.caught_up = where == self._last_push
        return found

    def _newest(self, stream: str) -> bytes:
        """The highest id that it ever had."""
        client = self._reading.client
        if not client.exists(stream):
            return b"0"
        newest: bytes = client.xinfo_stream(stream)["last-generated-id"]
        return newest

    def _view(self, snapshot: dict[bytes, bytes], found: Found) -> None:
        try:
            view = verified_view(snapshot, self._keys, self._seal)
        except Forged:
            found.forged = True
            return
        if view is not None and not is_timely(view.at, sleepless() + self.outbox.clock_ahead_s):
            self.look_at_clock()  # ours may be wrong; else it is a copy, or nobody owns the fleet
            return
        found.view = view

    def _look(self) -> Found:
        store, keys = self._reading, self._keys
        place = self._place
        found = Found()
        streams = {keys.pushes: self._last_push, place: self._last_reply}
        snapshot: dict[bytes, bytes] = {}
        with store.told():
            answer = store.client.xread(streams, count=ENTRIES, block=int(LOOK_S * 1000))
            if time.monotonic() - self._looked_at >= LOOK_S:
                self._look_at_lease(store, found)
                if self.wants_view:
                    snapshot = store.client.hgetall(keys.snapshot)
            found.caught_up = True
            for name, entries in answer or ():
                is_reply = name == place.encode()
                for id, fields in entries:
                    self._sort(found, is_reply, id, fields)
                if is_reply:
                    self._last_reply = entries[-1][0]
                else:
                    self._last_push = entries[-1][0]
                    found.caught_up = len(entries) < ENTRIES
        if _order(_where(snapshot) or b"0-0") <= _order(self._last_push or b"0-0"):
            self._view(snapshot, found)  # else the stream went on since it was read
        return found

    def _sort(self, found: Found, is_reply: bool, id: bytes, fields: dict[bytes, bytes]) -> None:
        parts = self._answers if is_reply else self._parts
        found.bytes_in += len(fields.get(b"d", b""))
        try:
            whole = parts.add(id, fields)
            if whole is None:
                return
            if is_reply:
                found.replies.append(unpack(whole[0], Reply))
            else:
                found.batches.append(unpack(whole[0], Batch))
        except Forged as error:
            log.warning("not heard: %s", error)

    def _look_at_lease(self, store: Store, found: Found) -> None:
        self._looked_at = now = time.monotonic()
        pipeline = store.client.pipeline(transaction=False)
        pipeline.get(self._keys.lease)
        pipeline.hget(self._keys.fence, "next")
        pipeline.xtrim(self._place, minid=_after(self._last_reply), approximate=False)
        before = sleepless()
        beats = now - self._beaten_at >= BEAT_S
        if beats:
            self._beaten_at = now
            key = self._keys.worker(self._worker)
            told = {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "lag": max(self._published - self.heard, 0),
            }
            pipeline.time()
            pipeline.hset(key, mapping=told)
            pipeline.expire(key, BEAT_TTL_S)
            # while we live: a new one would be numbered by a clock that may have been set back
            pipeline.expire(self._place, REPLY_TTL_S)
        lease, published, _, *rest = pipeline.execute()
        self._published = number_of(published)
        if self._kept_at > 0 and before - self._kept_at > AWAY_S:
            self._post(self._doubted)  # it was stopped: answers may have come and gone
        if beats:
            self._kept_at = before
            seconds, micros = rest[0]
            self.outbox.clock_ahead_s = seconds + micros / 1e6 - before
        found.fence = fence_of(lease)


def _where(snapshot: dict[bytes, bytes], newest: bytes | None = None) -> bytes | None:
    """The entry after which a snapshot stands, if one can be there. It is not signed: what
    was heard is known by its number."""
    id = snapshot.get(b"id", b"")
    if not _ID.fullmatch(id) or (newest is not None and _order(id) > _order(newest)):
        return None
    return id


def _order(id: bytes) -> tuple[int, int]:
    ms, _, number = id.partition(b"-")
    return int(ms), int(number or 0)


def _after(id: bytes) -> bytes:
    ms, number = _order(id)
    return b"%d-%d" % (ms, number + 1)
