"""How things stand, as the owner left it in Redis: read by workers, its successor, doctors."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from .keys import Keys
from .messages import Forged, Seal, View, unpack
from .store import Store


def read_view(store: Store, keys: Keys, seal: Seal) -> View | None:
    """None: there is none. Raises RedisDown; Forged if it is not signed with the secret."""
    with store.told():
        found = store.client.hgetall(keys.snapshot)
    return verified_view(found, keys, seal)


def verified_view(found: Mapping[bytes, bytes], keys: Keys, seal: Seal) -> View | None:
    body, sig = found.get(b"d"), found.get(b"s")
    if body is None or sig is None:
        return None
    if not hmac.compare_digest(seal.sign(keys.snapshot, body), sig):
        raise Forged("the fleet's snapshot is not signed with its secret")
    view: View = unpack(body, View)
    return view
