"""What is there of a fleet in Redis: for ``gwsync fleet status``, metrics and doctors.

Reads only, needs no secret; nothing in it is verified, so nothing depends on it.
"""

from __future__ import annotations

from typing import Any

from .keys import Keys
from .lease import fence_of, number_of
from .store import Moved, Store


def look(store: Store, fleet: str) -> dict[str, Any]:
    """As JSON has it. Raises RedisDown."""
    try:
        return _look(store, fleet)
    except Moved:
        return _look(store, fleet)


def names(store: Store) -> list[str]:
    """Of the fleets that had an owner here. Raises RedisDown."""
    with store.told():
        found = store.client.scan_iter(match=Keys("*").fence, count=1000)
        return sorted(key.decode(errors="replace").split("{")[1].split("}")[0] for key in found)


def _look(store: Store, fleet: str) -> dict[str, Any]:
    keys = Keys(fleet)
    with store.told():
        client = store.client
        lease, ttl_ms = client.get(keys.lease), client.pttl(keys.lease)
        number = fence_of(lease)
        fence = _texts(client.hgetall(keys.fence))
        owner = _texts(client.hgetall(keys.owner))
        workers = [_worker(client, keys, key) for key in _workers(client, keys)]
        streams = {
            name: {"entries": client.xlen(key), "bytes": client.memory_usage(key) or 0}
            for name, key in (("calls", keys.calls), ("pushes", keys.pushes))
        }
    name = (lease or b"").decode(errors="replace").rpartition("|")[0]
    held_ms = _number(fence.get("ttl"))
    return {
        "fleet": fleet,
        "owner": {**_numbers(owner), "name": name, "fence": number} if number else None,
        "lease": {"ttl_ms": held_ms, "age_ms": max(held_ms - ttl_ms, 0)} if number else None,
        "pushes": _number(fence.get("next")),
        "streams": streams,
        "workers": sorted(workers, key=lambda worker: str(worker["name"])),
    }


def _workers(client: Any, keys: Keys) -> list[bytes]:
    # The braces are plain characters to SCAN; a name's own dots and dashes are, too.
    return list(client.scan_iter(match=keys.worker("*"), count=1000))


def _worker(client: Any, keys: Keys, key: bytes) -> dict[str, Any]:
    name = key.decode(errors="replace").rpartition(":")[2]
    told = _texts(client.hgetall(key))
    # What it says: to count what it has not read is to fetch it, hundreds of megabytes perhaps.
    behind = _number(told.get("lag"))
    waiting = client.xlen(keys.replies(name))
    pid, host = _number(told.get("pid")), told.get("host", "")
    return {"name": name, "host": host, "pid": pid, "lag": behind, "replies": waiting}


def _texts(found: dict[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in found.items()
    }


def _numbers(told: dict[str, str]) -> dict[str, Any]:
    kept = {name: value for name, value in told.items() if name in _TOLD}
    return {name: value if name == "state" else _number(value) for name, value in kept.items()}


def _number(text: str | None) -> int:
    return number_of(text.encode()) if text else 0


_TOLD = frozenset(
    {"state", "in_flight", "performed", "refused", "published", "backlog", "sockets_opened"}
)
