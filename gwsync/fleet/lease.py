"""The lease: who may send to the gateway. One thread asks Redis; any thread looks at it.

Safe without trust in Redis's clock or memory: the holder counts from before it asked, by a
clock of its own that goes on in sleep; the next one waits until the former must have stopped,
by its own. The fencing number only grows, also where Redis forgot the last one. (Of a Redis
that fails twice within one lease's time, by losing its memory or by its clock, nothing is promised:
the holder puts back what was lost, and who came in between is unknown.)
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from .keys import Keys
from .messages import Seal
from .store import RedisDown, Store

LEASE_S = 1.5  # failover is this and a little more
RENEWALS = 4  # within a lease
TRUSTED = 0.9  # of a lease's time does its holder count on
CAUTIOUS = 0.95  # and so much the next one leaves it: clocks differ by less than a hundredth
POLL_S = 0.1  # how often one that waits for the lease looks
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


def sleepless() -> float:
    """A clock that nobody sets, and that goes on while the machine sleeps where there is one."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


_DIGITS = re.compile(rb"[0-9]{1,18}")


def fence_of(held: bytes | None) -> int:
    """The number of who has the lease, by what its key says; 0: nobody."""
    return number_of((held or b"").rpartition(b"|")[2])


def number_of(text: bytes | None) -> int:
    """What somebody wrote there for a number, or 0."""
    return int(text) if text and _DIGITS.fullmatch(text) else 0


_NOW = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""
# Whatever stands there, it keeps nobody from the lease.
_NUMBER = """
local function number(text, most)
    local value = tonumber(text or '0') or 0
    if value >= 0 and value <= most then return value end
    return 0
end
local function beat(key)
    local beats = number(redis.call('HGET', key, 'renewals'), 2^52) + 1
    redis.call('HSET', key, 'renewals', string.format('%.0f', beats))
end
"""
_ACQUIRE = (
    _NOW
    + _NUMBER
    + """
local held = redis.call('GET', KEYS[1])
local fence = redis.call('HMGET', KEYS[2], 'n', 'renewals', 'released', 'ttl', 'next',
    'signature')
local n = number(fence[1], 2^52)
local ttl = number(fence[4], 3600000)
local beats = fence[2] or ''
if held and (ARGV[3] == '' or ARGV[3] ~= beats) then
    return {0, beats, now, 0, ttl, 0, '', '', ''}
end
local mine = string.format('%.0f', math.max(n + 1, now))
redis.call('SET', KEYS[1], ARGV[1] .. '|' .. mine, 'PX', ARGV[2])
redis.call('HSET', KEYS[2], 'n', mine, 'ttl', ARGV[2])
beat(KEYS[2])
local clean = (n > 0 and fence[3] == fence[1]) and 1 or 0
return {1, mine, now, clean, ttl, number(fence[5], 2^52), beats,
    fence[3] or '', fence[6] or ''}
"""
)
# What was lost with Redis's memory is put back: until its time is over nobody else sends.
_RENEW = (
    _NOW
    + _NUMBER
    + """
local held = redis.call('GET', KEYS[1])
if held == false then
    local n = number(redis.call('HGET', KEYS[2], 'n'), 2^52)
    if n > tonumber(ARGV[3]) then return {0, now} end
    redis.call('HSET', KEYS[2], 'n', ARGV[3], 'ttl', ARGV[2])
elseif held ~= ARGV[1] then
    return {0, now}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
beat(KEYS[2])
return {1, now}
"""
)
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'released', ARGV[2], 'signature', ARGV[3])
return 1
"""


@dataclass
class Lease:
    """One that was had. ``holds()`` is for any thread, and cheap."""

    owner: str
    fence: int
    ttl_s: float
    deadline: float  # until when it is counted on
    send_from: float  # and from when: before, a predecessor may still send
    first: int  # the number of the next push
    clock_ahead_s: float  # Redis's clock before ours
    unbroken: bool = False  # the former one was seen at work on this connection to Redis
    over: bool = False

    def holds(self, now: Callable[[], float] = sleepless) -> bool:
        return not self.over and self.send_from <= now() < self.deadline

    def fleet_now(self) -> float:
        """Redis's time."""
        return sleepless() + self.clock_ahead_s

    @property
    def value(self) -> str:
        return f"{self.owner}|{self.fence}"


class Contender:
    """Wants the lease; looks at how it is renewed meanwhile."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        seal: Seal,
        owner: str,
        ttl_s: float = LEASE_S,
        clock: Callable[[], float] = sleepless,
    ) -> None:
        self._store, self._seal = store, seal
        self._keys = [keys.lease, keys.fence]
        self._owner = owner
        self._ttl_s = ttl_s
        self._clock = clock
        self._beats: bytes | None = None
        self._alive_at: float | None = None  # when somebody was last seen to have it
        self._at_work = False  # it was seen to be renewed since Redis was last away
        self._held_s = ttl_s  # by whom has it now

    def acquire(self) -> Lease | None:
        """The lease, if it was free. Raises RedisDown."""
        before = self._clock()
        ttl_ms = int(self._ttl_s * 1000)
        arguments = [self._owner, ttl_ms, self._silent(before)]
        try:
            with self._store.told():
                answer = self._store.script(_ACQUIRE)(self._keys, arguments)
        except RedisDown:
            # When it is back it may know less than it did: it says nothing of what was before.
            self._beats = self._alive_at = None
            self._at_work = False
            raise
        had, what, now_ms, clean, former_ms, first, beats, *released = answer
        if not had:
            beats = what
            self._held_s = max(self._ttl_s, former_ms / 1000)
        # That the former one has left, a Redis says that may have lost what came after that:
        # believed by who has been connected since before.
        left = bool(clean) and self._alive_at is not None and self._is_signed(*released)
        if self._alive_at is not None and beats != self._beats:
            self._at_work = True
        if self._alive_at is None or beats != self._beats:
            # It was renewed since the last look, perhaps a moment ago, or Redis forgot.
            self._beats, self._alive_at = beats, self._clock()
        if not had:
            return None
        alive_at, self._beats, self._alive_at = self._alive_at, None, None  # that was before
        wait_s = max(self._ttl_s, former_ms / 1000) * CAUTIOUS
        return Lease(
            owner=self._owner,
            fence=int(what),
            ttl_s=self._ttl_s,
            deadline=before + self._ttl_s * TRUSTED,
            send_from=before if left else alive_at + wait_s,
            first=int(first),
            clock_ahead_s=now_ms / 1000 - before,
            unbroken=self._at_work,
        )

    def _signature(self, fence: bytes) -> bytes:
        return self._seal.sign(self._keys[1], b"released", fence)

    def _is_signed(self, fence: bytes, signature: bytes) -> bool:
        """Else somebody who can write to Redis could have two send."""
        return hmac.compare_digest(self._signature(fence), signature)

    def _silent(self, now: float) -> bytes:
        """The number of renewals, if there was none for longer than a lease: it is over then,
        also where Redis's clock was set back and keeps it."""
        if self._alive_at is None or not self._beats or now < self._alive_at + self._held_s:
            return b""
        return self._beats

    def renew(self, lease: Lease) -> bool:
        """False: it is over, for good. Raises RedisDown, and it goes on as long as it may."""
        before = self._clock()
        if lease.over or before >= lease.deadline:
            lease.over = True
            return False
        arguments = [lease.value, int(lease.ttl_s * 1000), lease.fence]
        with self._store.told():
            kept, now_ms = self._store.script(_RENEW)(self._keys, arguments)
        if not kept or self._clock() >= lease.deadline:
            lease.over = True  # stopped on the way: what it was given is not taken
            return False
        lease.deadline = before + lease.ttl_s * TRUSTED
        lease.clock_ahead_s = now_ms / 1000 - before
        return True

    def release(self, lease: Lease) -> None:
        """The next one need not wait: nothing is sent from here on. Also of one that is over:
        Redis may have it still. Raises RedisDown."""
        now = self._clock()
        # Who has waited for its predecessor and never sent cannot say that nobody does.
        last = lease.fence if now >= lease.send_from else 0
        lease.over = True
        with self._store.told():
            signature = self._signature(b"%d" % last)
            self._store.script(_RELEASE)(self._keys, [lease.value, last, signature])
