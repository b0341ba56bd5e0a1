"""FAULTS.md 2b: bad input from the caller, and 2a's two large ones that are legal.

Refused in the caller's frame, before a byte is sent; the link does not notice.
"""

from __future__ import annotations

import datetime
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import _SLACK, Log, eventually
from faults.cases import LARGE_HELLO
from faults.gauges import Gauges
from faults.runner import Runner
from gwsync import limits
from gwsync.errors import ConfigError, PayloadTooLarge
from loopback.support import Bench

SECRET = "canary-secret"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


URLS: dict[str, Any] = {
    "one-slash": "ws:/h",
    "no-scheme": "127.0.0.1:1",
    "no-host": "ws://",
    "no-host-but-a-port": "ws://:1",
    "port-99999": "ws://127.0.0.1:99999",
    "port-text": "ws://127.0.0.1:abc",
    "port-0": "ws://127.0.0.1:0",
    "port-negative": "ws://127.0.0.1:-1",
    "half-an-ipv6": "ws://[::1",
    "ipv6-garbage": "ws://[::zz]",
    "none": None,
    "number": 5,
    "bytes": b"ws://127.0.0.1",
    "empty": "",
    "list": ["ws://127.0.0.1"],
    "http": "http://127.0.0.1",
    "https": "https://box.example",
    "file": "file:///etc/passwd",
    "user-and-password": f"ws://user:{SECRET}@127.0.0.1",
    "user": f"ws://{SECRET}@127.0.0.1",
    "token": f"ws://127.0.0.1/?token={SECRET}",
    "token-in-capitals": f"ws://127.0.0.1/?TOKEN={SECRET}",
    "password": f"ws://127.0.0.1/?a=1&password={SECRET}",
    "fragment": "ws://127.0.0.1/#x",
    "empty-fragment": "ws://127.0.0.1/#",
    "label-of-64": f"ws://{'a' * 64}.local",
    "two-dots": "ws://a..b",
    "name-of-300": f"wss://{'a.' * 150}b",
    "cr-lf": "ws://127.0.0.1/\r\nX: y",
    "nul": "ws://127.0.0.1/\0",
    "space": "ws://127.0.0.1/a b",
    "space-before": " ws://127.0.0.1",
    "newline-after": "ws://127.0.0.1\n",
    "non-ascii-host": "ws://b\u00fccher.local",
    "non-ascii-path": "ws://127.0.0.1/\u00fc",
    "surrogate": "ws://127.0.0.1/\ud800",
    "public-plaintext": "ws://example.com",
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_2b_url(url: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        gwsync.Config(url=url)
    said = str(refused.value)
    assert "url" in said or "WebSocket" in said or "plaintext" in said, said
    assert SECRET not in said
    assert said.isprintable()


def test_2b_url_in_capitals_is_one() -> None:
    assert gwsync.Config(url="WS://127.0.0.1").url == "ws://127.0.0.1"


_SPLIT = ("a\r\nX: y", "a\nb", "a\0b", "\u00fc", "\ud800")
_NAMES = (*_SPLIT, "", "a b", "a:")
SETTINGS: dict[str, dict[str, Any]] = {
    **{f"token-{n}": {"token": bad} for n, bad in enumerate((*_SPLIT, "", 5, b"x"))},
    **{f"password-{n}": {"password": bad} for n, bad in enumerate(("", 5, b"x", "\ud800"))},
    **{f"header-value-{n}": {"headers": (("X-A", bad),)} for n, bad in enumerate(_SPLIT)},
    **{f"header-name-{n}": {"headers": ((bad, "x"),)} for n, bad in enumerate(_NAMES)},
    **{f"headers-{n}": {"headers": bad} for n, bad in enumerate((5, "x", ((1, 2),), (("a",),)))},
    "header-origin": {"headers": (("Origin", "http://x"),)},
    "header-host": {"headers": (("Host", "x"),)},
    "header-extensions": {"headers": (("Sec-WebSocket-Extensions", "x"),)},
    **{f"server-name-{n}": {"server_name": bad} for n, bad in enumerate((*_SPLIT, "", "a" * 64))},
    **{f"timeout-{bad!r}": {"connect_timeout": bad} for bad in (0, -1, math.nan, "x", True, None)},
    **{
        f"request-timeout-{bad!r}": {"request_timeout": bad} for bad in (0, -1, math.nan, "x", True)
    },
    "stage-timeouts-unknown": {"stage_timeouts": (("teatime", 1),)},
    "stage-timeouts-0": {"stage_timeouts": (("tcp", 0),)},
    "stage-timeouts-text": {"stage_timeouts": "tcp"},
    "max-message-small": {"max_message": 10},
    "max-message-text": {"max_message": "64"},
    "max-message-true": {"max_message": True},
    "max-message-float": {"max_message": 1e9},
    "scopes-text": {"scopes": "operator.read"},
    "scopes-number": {"scopes": 5},
    "role-empty": {"role": ""},
    "role-number": {"role": 5},
    "family": {"address_family": "ipv5"},
    "family-list": {"address_family": ["ipv4"]},
    "reconnect": {"reconnect": 5},
    "fingerprint-short": {"url": "wss://a.local", "tls_fingerprint": "ab"},
    "fingerprint-on-ws": {"tls_fingerprint": "ab" * 32},
    "ca-file-nul": {"ca_file": "a\0b"},
    "ca-file-number": {"ca_file": 5},
    "state-dir-nul": {"state_dir": "\0"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_2b_setting(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        gwsync.Config(**settings)
    assert str(refused.value).isprintable()


def _circular() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["again"] = [made]
    return made


def _deep(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


PARAMS: dict[str, tuple[Any, str]] = {
    "set": ({"a": {1}}, "params.a"),
    "bytes": ({"a": [b"x"]}, r"params.a\[0\]"),
    "object": ({"a": object()}, "params.a"),
    "datetime": ({"a": datetime.datetime.now()}, "params.a"),
    "circular": (_circular(), "contains itself"),
    "key-number": ({"a": {1: 2}}, "params.a"),
    "key-none": ({None: 1}, "key"),
    "key-bytes": ({b"a": 1}, "key"),
    "nan": ({"a": math.nan}, "params.a"),
    "infinity": ({"a": [1, -math.inf]}, r"params.a\[1\]"),
    "surrogate": ({"a": "\ud800"}, "params.a"),
    "surrogate-in-a-key": ({"\ud800": 1}, "key"),
    "100000-deep": ({"a": _deep(100_000)}, "deeper"),
    "integer-of-65-bits": ({"a": 2**64}, "params.a"),
    "integer-of-5000-digits": ({"a": 10**5000}, "params.a"),
    "list": ([1], "mapping"),
    "text": ("x", "mapping"),
    "number": (5, "mapping"),
    "complex": ({"a": 1j}, "params.a"),
    "generator": ({"a": (x for x in "a")}, "params.a"),
    "exception-class": ({"a": ValueError}, "params.a"),
}
CALLS: dict[str, Callable[[gwsync.Connection], Any]] = {
    **{
        f"timeout-{bad!r}": lambda gw, bad=bad: gw.request("health", timeout=bad)
        for bad in (0, -1, -math.inf, math.nan, "x", True, [1], 1j)
    },
    **{
        f"method-{name}": lambda gw, bad=bad: gw.request(bad)
        for name, bad in {
            "none": None,
            "empty": "",
            "number": 5,
            "bytes": b"x",
            "newline": "a\nb",
        }.items()
    },
    "connect-timeout-0": lambda gw: gw.connect(timeout=0),
    "wait-negative": lambda gw: gw.wait(timeout=-1),
    "many-of-numbers": lambda gw: gw.request_many([5]),  # type: ignore[list-item]
    "many-of-triples": lambda gw: gw.request_many([("a", {}, 1)]),  # type: ignore[list-item]
    "key-number": lambda gw: gw.request("health", idempotency_key=5),
    "subscribe-nothing": lambda gw: gw.subscribe(None),
    "subscribe-number": lambda gw: gw.subscribe(print, 5),
    "queue-0": lambda gw: gw.subscribe(print, max_queue=0),
    "queue-negative": lambda gw: gw.subscribe(print, max_queue=-1),
    "queue-text": lambda gw: gw.subscribe(print, max_queue="x"),
    "queue-true": lambda gw: gw.subscribe(print, max_queue=True),
    "on-full-unknown": lambda gw: gw.subscribe(print, on_full="explode"),
}


@pytest.fixture
def link(bench: Bench) -> Iterator[gwsync.Connection]:
    """A link that must not notice any of it: nothing is sent, and it goes on."""
    connection = bench.connection()
    connection.connect()
    connection.request("health")
    before = connection.status()
    yield connection
    now = connection.status()
    assert (now.frames_out, now.pending, now.sockets_opened) == (before.frames_out, 0, 1)
    assert now.subscriptions == ()
    assert connection.request("health")


@pytest.mark.parametrize(("params", "says"), PARAMS.values(), ids=PARAMS)
def test_2b_params(link: gwsync.Connection, params: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        link.request("health", params)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_2b_argument(link: gwsync.Connection, call: Callable[[gwsync.Connection], Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        call(link)
    assert str(refused.value).isprintable()


def test_2b_over_the_limit(link: gwsync.Connection) -> None:
    size = limits.DEFAULT_MAX_PAYLOAD_BYTES
    with pytest.raises(PayloadTooLarge) as refused:
        link.request("health", {"text": "x" * size})
    assert refused.value.size > refused.value.limit == size
    assert refused.value.outcome == "not_sent"


@pytest.mark.parametrize("timeout", [None, math.inf, 1e20, 1e308], ids=str)
def test_2b_timeouts_that_are_fine(bench: Bench, timeout: Any) -> None:
    assert bench.connection().request("health", timeout=timeout)


def test_2b_many_subscriptions_are_linear(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    subscriptions = [connection.subscribe(print, "never") for _ in range(2000)]
    eventually(lambda: len(connection.status().subscriptions) == 2000, "all of them")
    for subscription in subscriptions:
        subscription.close()
    eventually(lambda: not connection.status().subscriptions, "none of them")


@pytest.mark.parametrize(
    "stop", [SystemExit, KeyboardInterrupt, GeneratorExit], ids=lambda e: e.__name__
)
def test_2b_a_callback_that_means_to_end_it_all(bench: Bench, stop: type[BaseException]) -> None:
    """The reader survives, and so does everybody else's subscription."""
    connection, log, met = bench.connection(), Log(), threading.Event()

    def callback(push: Any) -> None:
        if push.name == "odd":
            met.set()
            raise stop

    connection.subscribe(callback, "odd")
    connection.subscribe(log, "odd")
    connection.connect()
    for n in range(3):
        bench.gateway.push("odd", {"n": n})
    assert met.wait(10)
    log.wait(lambda push: push.name == "odd" and push.payload["n"] == 2, "the last one")
    assert connection.request("health")


def test_2a_a_list_of_ten_million_is_decoded_by_who_looks(bench: Bench) -> None:
    """20 MB in one event: the hub passes it on as it came, without a stall."""
    connection, log = bench.connection(), Log()
    connection.subscribe(log, "odd")
    connection.connect()
    gauges = Gauges()
    bench.gateway.push("odd", [0] * 10_000_000)
    at = log.wait(lambda push: push.name == "odd", "the event", timeout=60)
    gauges.stop()
    assert connection.request("health")
    assert len(log.pushes[at].payload) == 10_000_000


def test_47_a_hello_of_20_mb(runner: Runner) -> None:
    """Accepted, since it is under max_message, and nobody waits for it long."""
    gauges = Gauges()
    runner.run(LARGE_HELLO, "plain")
    gauges.stop()
    assert max(gauges.lags) < 0.25 * _SLACK
