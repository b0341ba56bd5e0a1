"""The rows of the table, with the bars of each."""

from __future__ import annotations

from typing import Any

from . import fleeting, relaying, starting
from .model import Bar, Row, Side
from .running import node, python

OURS, HUB = "gwsync", "gwsync, in the hub"
WC, WC_SKIP = "websocket-client", "websocket-client, skip_utf8"
SYNC, ASYNC = "websockets (sync)", "websockets (asyncio)"
PICOWS, AIOHTTP = "picows + orjson", "aiohttp"
WS, OFFICIAL = "Node ws", "@openclaw/gateway-client"
DRAIN = "floor: drain only"
UNTOUCHED, EAGER = "gwsync, payload untouched", "gwsync, payload read"

gwsync, floor = python("gwsync_client"), python("floor")
websocket_client, websockets = python("websocket_client"), python("websockets_client")

FLOORS = (
    Side(DRAIN, floor, {"kind": "drain"}),
    Side("floor: decode only, msgspec", floor, {"kind": "decode-msgspec"}),
    Side("floor: decode only, orjson", floor, {"kind": "decode-orjson"}),
    Side("floor: decode only, json", floor, {"kind": "decode-json"}, share=0.25),
)


def peers(*, slow: float, fast: float = 1.0) -> tuple[Side, ...]:
    """The other clients; ``slow`` is the share of the slowest."""
    return (
        Side(WC, websocket_client, {"default": True}, share=slow),
        Side(WC_SKIP, websocket_client, share=fast / 2),
        Side(SYNC, websockets, share=fast / 2),
        Side(ASYNC, websockets, {"asyncio": True}, share=fast / 2),
        Side(AIOHTTP, python("aiohttp_client"), share=fast / 2),
        Side(PICOWS, python("picows_client")),
        Side(WS, node, node=True),
        Side(OFFICIAL, node, {"official": True}, node=True),
    )


def flood(key: str, title: str, size: str, count: int, slow: float, bars: Any) -> Row:
    mine = (Side(OURS, gwsync), Side(HUB, gwsync, {"hub": True}))
    return Row(
        key,
        title,
        (*mine, *peers(slow=slow), *FLOORS),
        tuple(bars),
        job={"kind": "flood", "size": size, "count": count, "warm": max(count // 20, 50)},
        source=("--size", size),
    )


def against(ours: str, least: dict[str, float]) -> list[Bar]:
    return [Bar("cpu_us", ours, peer, least=times) for peer, times in least.items()]


def faster_source(ours: str) -> Bar:
    """The source must not be what is measured: it feeds ``drain`` faster than any client reads."""
    return Bar("rate", DRAIN, ours, least=1.0)


EVENTS = (
    flood(
        "events-200",
        "events of about 200 B to a callback, flood, payload read",
        "small",
        200_000,
        0.05,
        [
            *against(OURS, {WC: 20, SYNC: 4.5, ASYNC: 4.5, WS: 1, OFFICIAL: 1, PICOWS: 0.75}),
            *against(HUB, {WC: 25, SYNC: 5, ASYNC: 5, WS: 1.2, OFFICIAL: 1.2, PICOWS: 1}),
            *(faster_source(peer) for peer in (OURS, HUB, PICOWS, WS)),
        ],
    ),
    flood(
        "events-2k",
        "events of about 2 KB to a callback, flood, payload read",
        "medium",
        30_000,
        0.05,
        against(OURS, {WC: 60, SYNC: 2.2, ASYNC: 2.2, WS: 0.9, OFFICIAL: 0.9, PICOWS: 0.75}),
    ),
    Row(
        "events-64k-untouched",
        "events of 64 KB, payload untouched by the callback (gwsync leaves it undecoded)",
        (
            Side(UNTOUCHED, gwsync),
            Side(EAGER, gwsync, {"kind": "flood"}, share=0.5),
            *peers(slow=0.03, fast=0.5),
            FLOORS[0],
        ),
        tuple(against(UNTOUCHED, {PICOWS: 4, WS: 4.5})),
        job={"kind": "untouched", "size": "huge", "count": 900, "warm": 50},
        source=("--size", "huge"),
        note="not decode speed: the peers decode every payload, which gwsync does when it is read",
    ),
    Row(
        "paced-2000",
        "2,000 events of about 200 B a second: time from the send to the callback",
        (
            Side(OURS, gwsync),
            *(side for side in peers(slow=1, fast=2) if side.name not in (WC_SKIP, AIOHTTP)),
        ),
        (
            Bar("p50_us", OURS, SYNC, least=1.0),
            Bar("cpu_us", OURS, WS, least=1.0),
        ),
        metrics=("p50_us", "p99_us", "cpu_us"),
        # no --size: events are made as they are sent
        job={"kind": "paced", "count": 4000, "warm": 400, "rate": 2000},
        source=(),
    ),
)

CALLS = (
    Row(
        "request",
        "one request after another on loopback, plain TCP",
        (
            Side(OURS, gwsync),
            Side(WC_SKIP, websocket_client),
            Side(SYNC, websockets),
            Side(WS, node, node=True),
            Side(OFFICIAL, node, {"official": True}, node=True),
        ),
        (
            Bar("p50_us", OURS, WC_SKIP, most=1.35),
            Bar("p50_us", OURS, WS, most=1.6),
            Bar("p99_us", OURS, WS, most=1.0),
        ),
        metrics=("p50_us", "p99_us", "cpu_us"),
        job={"kind": "sequential", "count": 10_000},
        source=(),
    ),
    Row(
        "request-16-threads",
        "16 threads that call at once, on one connection",
        (Side(OURS, gwsync), Side(SYNC, websockets)),
        (Bar("rate", OURS, SYNC, least=1.3),),
        metrics=("rate", "cpu_us"),
        job={"kind": "threads", "count": 32_000, "threads": 16},
        source=(),
        note="websockets with a reader thread and a table of who waits, as gwsync has inside",
    ),
    Row(
        "request-many-64",
        "request_many, 64 calls in flight",
        (
            Side(OURS, gwsync),
            Side(WS, node, node=True),
            Side(OFFICIAL, node, {"official": True}, node=True),
        ),
        (Bar("rate", OURS, WS, least=1.0),),
        metrics=("rate", "cpu_us"),
        job={"kind": "many", "count": 64_000, "window": 64},
        source=(),
    ),
    Row(
        "request-1m",
        "requests of 1 MB, one after another (gwsync with gwsync[speed])",
        (Side(OURS, gwsync), Side(SYNC, websockets), Side(WC_SKIP, websocket_client)),
        (Bar("rate", OURS, SYNC, least=0.9),),
        metrics=("rate", "cpu_us", "p50_us"),
        job={"kind": "sequential", "count": 200, "bytes": 1_000_000},
        source=(),
    ),
)

SETS = (EVENTS, CALLS, starting.ROWS, relaying.ROWS, fleeting.ROWS)
ROWS: dict[str, Row] = {row.key: row for rows in SETS for row in rows}
