"""What owners say to each other when one makes way: signed, in a stream of the fleet's own."""

from __future__ import annotations

import logging

import msgspec

from .keys import Keys
from .lease import Lease
from .messages import Assembler, Forged, Seal, pack, unpack
from .store import Store

log = logging.getLogger("gwsync.fleet")
KEPT = 256  # entries of the stream

# The lease goes over and is never free: nobody else gets it in between.
_TRANSFER = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('HSET', KEYS[2], 'n', ARGV[4], 'ttl', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'renewals', 1)
for at = 5, #ARGV, 5 do
    redis.call('XADD', KEYS[3], '*', 'd', ARGV[at], 's', ARGV[at + 1], 'g', ARGV[at + 2],
        'i', ARGV[at + 3], 'n', ARGV[at + 4])
end
return 1
"""


class Step(msgspec.Struct, array_like=True):
    """One message; ``word``: ask, grant, up, yours or no."""

    id: str
    word: str
    fence: int  # of the owner that is asked
    owner: str = ""  # who asks
    at: float = 0.0  # Redis's time
    asked_for: list[tuple[str, bytes]] = []  # grant: subscriptions to be made on the new link
    next_fence: int = 0  # yours, and what follows
    next: int = 0
    published: list[bytes] = []
    reason: str = ""  # no


class Talk:
    """What is said of hand-overs in one fleet."""

    def __init__(self, store: Store, keys: Keys, seal: Seal) -> None:
        self._store, self._keys, self._seal = store, keys, seal
        self._parts = Assembler(seal, keys.handover)
        self._last: bytes = b"0-0"  # what is there may be for us

    def say(self, step: Step) -> None:
        with self._store.told():
            pipeline = self._store.client.pipeline(transaction=True)
            for entry in self._seal.entries(self._keys.handover, pack(step)):
                pipeline.xadd(self._keys.handover, entry, maxlen=KEPT, approximate=True)
            pipeline.expire(self._keys.handover, 60)
            pipeline.execute()

    def hear(self, block_s: float = 0.0) -> list[Step]:
        """What was said since the last time."""
        block = int(block_s * 1000) or None
        with self._store.told():
            found = self._store.client.xread({self._keys.handover: self._last}, block=block)
        steps = []
        for id, fields in found[0][1] if found else ():
            self._last = id
            try:
                whole = self._parts.add(id, fields)
                if whole is not None:
                    steps.append(unpack(whole[0], Step))
            except Forged as error:
                log.warning("refused: %s", error)
        return steps

    def transfer(self, lease: Lease, to: str, step: Step) -> bool:
        """The lease becomes ``to``'s, who hears ``step`` then."""
        entries = self._seal.entries(self._keys.handover, pack(step))
        flat = [entry[name] for entry in entries for name in (b"d", b"s", b"g", b"i", b"n")]
        mine, theirs = lease.value, f"{to}|{step.next_fence}"
        keys = [self._keys.lease, self._keys.fence, self._keys.handover]
        with self._store.told():
            arguments = [mine, theirs, int(lease.ttl_s * 1000), step.next_fence, *flat]
            return bool(self._store.script(_TRANSFER)(keys, arguments))

    def redis_time(self) -> float:
        with self._store.told():
            seconds, micros = self._store.client.time()
        return float(seconds + micros / 1e6)
