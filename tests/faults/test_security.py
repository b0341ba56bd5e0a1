"""The security checklist, FAULTS.md section 4: the rows that no other test proves, by number.

Proved elsewhere: 1 to 4 and 18 in loopback/test_tls.py and test_tls_pins.py, 5 and 9 in
unit/test_endpoint.py and real/test_plaintext_hosts.py, 10 in unit/test_identity.py,
14 in loopback/test_dial.py, 16 in the hostile cases, 20 for terminals in
loopback/test_cli_watch.py. There is no proxy (13) and no HTTP client (17) yet.
"""

from __future__ import annotations

import ast
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

import gwsync
from conformance.tools import Log, eventually
from faults.canary import DEVICE_TOKEN, PASSWORD, SECRETS, TOKEN, Outputs, stored_secrets
from loopback.cli_support import Running, run
from loopback.support import (
    FAST,
    WAIT_S,
    Bench,
    Pipe,
    answers,
    error_of,
    http,
    is_state,
    until_closed,
)
from loopback.support_tls import Authority, Terminator

SOURCES = sorted(Path(gwsync.__file__).parent.rglob("*.py"))
SHIPPED = [path for path in SOURCES if "testing" not in path.parts]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A LocalGateway, and connections to it that are closed at the end."""
    with Bench(tmp_path) as made:
        yield made


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that is logged, at the lowest level."""
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name resolves to 127.0.0.1."""

    def lookup(host: str, port: Any, family: int, kind: int) -> list[Any]:
        return [(family, kind, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr("gwsync.transport.resolve.getaddrinfo", lookup)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a module: what is called as it is written there, and the node."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imported(path: Path) -> set[str]:
    """The top-level modules that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


# -- 1: verification is on, and cannot be switched off but by the pin -----------------------


def test_s01_nothing_switches_verification_off() -> None:
    said = {name for name in vars(gwsync.Config(url="ws://localhost")) if "verif" in name}
    assert said == set()
    unverified = [
        path.name
        for path in SHIPPED
        if "CERT_NONE" in path.read_text() or "_unverified" in path.name
    ]
    # Both only where a certificate is pinned: loopback/test_tls_pins.py, test_http.py.
    assert unverified == ["http_session.py", "trust.py"]


# -- 6: TLS is really on the wire -----------------------------------------------------------


def test_s06_what_goes_over_the_wire_is_tls(bench: Bench, tmp_path: Path) -> None:
    gateway = bench.another_gateway(token=TOKEN)
    authority = Authority(tmp_path)
    bench._gateway = gateway  # the one behind the terminator
    front = Terminator(bench, authority.issue("127.0.0.1"))
    wires: list[Pipe] = []

    def tap(sock: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", front.server.port), timeout=WAIT_S) as far:
            wires.append(Pipe(sock, far))
            wires[-1].run()

    wire = bench.server(tap)
    connection = bench.connection(
        url=f"wss://127.0.0.1:{wire.port}", token=TOKEN, ca_file=authority.ca_file
    )
    connection.connect()
    assert connection.request("health")["ok"] is True
    (tapped,) = wires
    assert tapped.said[:2] == b"\x16\x03"  # a TLS handshake record, from the first byte on
    outputs = Outputs()
    outputs.add("the wire", tapped.said)
    assert outputs.found([TOKEN, "GET /", "Sec-WebSocket-Key"]) == []
    assert gateway.handshakes[0].params["auth"]["token"] == TOKEN  # it did arrive


# -- 7: secrets are shown nowhere ----------------------------------------------------------


def raises_with_secrets_around(push: Any) -> None:
    raise ValueError(f"a callback fails on {type(push).__name__}")


def life_of_a_connection(bench: Bench, outputs: Outputs, pushes: list[Any]) -> None:
    """Connect, call, err, lose the link, be told of another secret, park, close."""
    gateway = bench.another_gateway(token=TOKEN, password=PASSWORD)
    gateway.on_method("fails", lambda params: 1 / 0)
    gateway.hold("held")
    config = bench.config(url=gateway.url, token=TOKEN)
    connection = gwsync.Connection(config)
    try:
        connection.subscribe(pushes.append)
        connection.subscribe(raises_with_secrets_around)
        hello = connection.connect()
        connection.request("health")
        errors = [
            error_of(connection.request, "no.such.method", {"a": 1}),
            error_of(connection.request, "fails"),
            error_of(connection.request, "held", timeout=0.01),
        ]
        gateway.drop()
        eventually(lambda: connection.status().reconnects, "it came back", 20)
        gateway.change_token(TOKEN + "2")
        errors.append(error_of(connection.wait, 20))
        errors.append(error_of(connection.connect))
        for value in (config, connection, hello, connection.status(), *errors, *pushes):
            outputs.add_object(value)
        outputs.add("raw hello", repr(dict(hello.raw)))
    finally:
        connection.close()
    outputs.add_object(error_of(connection.request, "health"))


REFUSALS: dict[str, Callable[[Bench, Path], str]] = {
    "wrong": lambda bench, directory: bench.another_gateway().url,
    "nobody": lambda bench, directory: "ws://127.0.0.1:9",
    "http 401": lambda bench, directory: bench.server(answers(http("401 No", "no"))).url,
    "http 500": lambda bench, directory: bench.server(answers(http("500 No", "no"))).url,
    "garbage": lambda bench, directory: bench.server(answers(b"\x00\xff" * 90 + b"\r\n\r\n")).url,
    "silence": lambda bench, directory: bench.server(until_closed).url,
    "bad tls": lambda bench, directory: Terminator(
        bench, Authority(directory).issue("localhost")
    ).url(),
    "no tls": lambda bench, directory: f"wss://127.0.0.1:{bench.gateway.port}",
}
CREDENTIALS = {"token": TOKEN, "password": PASSWORD, "device_token": DEVICE_TOKEN}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_s07_a_refusal_shows_no_secret(
    bench: Bench, tmp_path: Path, debug: pytest.LogCaptureFixture, refusal: str
) -> None:
    url, outputs = REFUSALS[refusal](bench, tmp_path), Outputs()
    for credential in (*({name: value} for name, value in CREDENTIALS.items()), CREDENTIALS):
        header = {"headers": {"Authorization": f"Bearer {TOKEN}"}}
        config = bench.config(url=url, stage_timeouts={"upgrade": 0.5}, **credential, **header)
        with gwsync.Connection(config) as connection:
            for value in (
                error_of(connection.connect),
                # where nothing answers, this ends first: with the failure above as its cause
                error_of(connection.request, "health", timeout=0.2),
            ):
                outputs.add_object(value)
            outputs.add_object(connection.status())
        outputs.add_object(config)
        outputs.add_object(connection)
    outputs.add_log(debug.records)
    assert outputs.found([*SECRETS, *stored_secrets(bench.state_dir)]) == []
    assert len(outputs.texts) > 50


def test_s07_a_whole_life_shows_no_secret(
    bench: Bench, debug: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    outputs, pushes = Outputs(), []  # type: ignore[var-annotated]
    life_of_a_connection(bench, outputs, pushes)
    outputs.add_log(debug.records)
    outputs.add("stdout and stderr", "".join(capfd.readouterr()))
    names = {record.name for record in debug.records}
    assert {"gwsync.dial", "gwsync.session", "gwsync.dispatch"} <= names
    secrets = stored_secrets(bench.state_dir)
    assert len(secrets) >= 3  # the key, twice, and a token that was issued
    assert outputs.found([*SECRETS, *secrets]) == []


@pytest.mark.parametrize("name", list(CREDENTIALS))
def test_s07_the_command_line_shows_no_secret(bench: Bench, name: str) -> None:
    gateway = bench.another_gateway(token=TOKEN, password=PASSWORD)
    env = {
        "GWSYNC_URL": gateway.url,
        f"GWSYNC_{name.upper()}": CREDENTIALS[name],
        "GWSYNC_STATE_DIR": bench.state_dir,
    }
    outputs, good = Outputs(), name == "token"
    for arguments in (
        ("call", "health", "-vv"),
        ("call", "no.such.method", "-vv"),
        ("status", "-vv"),
        ("status", "--json"),
        ("watch", "--count", "0", "-vv"),
        ("call", "health", "-vv", "--url", "ws://127.0.0.1:9", "--token", TOKEN),
        ("call", "health", "--url", f"ws://:{TOKEN}@127.0.0.1:{gateway.port}"),
    ):
        done = run(*arguments, env=env)
        outputs.add(f"stdout of {arguments}", done.stdout)
        outputs.add(f"stderr of {arguments}", done.stderr)
    with Running(("watch", "--count", "1", "-vv"), env) as running:
        if good:
            running.line("snapshot")
            gateway.push("cron", {"a": 1})
        outputs.add("watch", running.stdout.read())
        outputs.add("watch", running.end()[1])
    assert any("gwsync.dial" in text for _, text in outputs.texts)
    assert outputs.found([*SECRETS, *stored_secrets(bench.state_dir)]) == []


def test_s07_the_search_finds_what_is_there() -> None:
    import base64
    import urllib.parse

    for secret in SECRETS:
        for before in ("", "a", "ab", "abc"):
            whole = f"{before}{secret}{before}".encode()
            for text in (
                whole.decode(),
                base64.b64encode(whole).decode(),
                base64.urlsafe_b64encode(whole).decode(),
                urllib.parse.quote(whole),
                urllib.parse.quote(whole, safe=""),
                whole.hex(),
                repr(whole),
            ):
                outputs = Outputs()
                outputs.add("here", f"... {text} ...")
                assert outputs.found([secret]) == ["here"]


# -- 8: websocket-client's trace -----------------------------------------------------------


def test_s05_plaintext_to_another_machine_is_warned_of_once(
    bench: Bench, debug: pytest.LogCaptureFixture, at_home: None
) -> None:
    url = bench.gateway.url.replace("127.0.0.1", "warned.ts.net")
    for _ in range(2):
        bench.connection(url=url, token=bench.gateway.token).connect()
    bench.connection(token=bench.gateway.token).connect()  # loopback: nobody is between
    warned = [record for record in debug.records if "is not encrypted" in record.getMessage()]
    assert [record.levelname for record in warned] == ["WARNING"]
    assert "warned.ts.net" in warned[0].getMessage()


def test_s08_the_trace_of_websocket_client_is_never_switched_on() -> None:
    assert [
        path for path in SOURCES for name, _ in calls(path) if name.endswith("enableTrace")
    ] == []


def test_s08_a_trace_that_the_program_switched_on_shows_no_token(
    bench: Bench, debug: pytest.LogCaptureFixture
) -> None:
    gateway = bench.another_gateway(token=TOKEN)
    handler = logging.NullHandler()
    websocket.enableTrace(True, handler=handler)
    try:
        connection = bench.connection(url=gateway.url, token=TOKEN)
        connection.connect()
        connection.request("health")
    finally:
        websocket.enableTrace(False)
        logging.getLogger("websocket").removeHandler(handler)
    outputs = Outputs()
    outputs.add_log(debug.records)
    assert outputs.found([TOKEN, *stored_secrets(bench.state_dir)]) == []
    assert any("enableTrace is on" in record.getMessage() for record in debug.records)


# -- 11, 12: a credential is for one gateway -----------------------------------------------


def test_s11_a_device_token_never_goes_to_another_gateway(bench: Bench) -> None:
    one, other = bench.another_gateway(token=TOKEN), bench.another_gateway(token=PASSWORD)
    bench.connection(url=one.url, token=TOKEN).connect()
    issued = [one for one in stored_secrets(bench.state_dir) if isinstance(one, str)]
    bench.connection(url=one.url).connect()  # the stored token is enough here
    assert one.handshakes[-1].params["auth"].get("deviceToken") in issued
    error_of(bench.connection(url=other.url).connect)
    error_of(bench.connection(url=other.url, token="not-the-token").connect)
    outputs = Outputs()
    for handshake in other.handshakes:
        outputs.add("the other gateway", repr(handshake.params))
    assert len(other.handshakes) == 2
    assert outputs.found([TOKEN, *stored_secrets(bench.state_dir)]) == []


def test_s11_each_gateway_gets_a_signature_over_its_own_challenge(bench: Bench) -> None:
    gateways = [bench.another_gateway(token=TOKEN) for _ in range(2)]
    signed = set()
    for gateway in (*gateways, gateways[0]):
        bench.connection(url=gateway.url, token=TOKEN).connect()
        device = gateway.handshakes[-1].params["device"]
        signed.add((device["nonce"], device["signature"]))
    assert len({nonce for nonce, _ in signed}) == len({proof for _, proof in signed}) == 3


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("host", ["127.0.0.1", "box.local"])
def test_s12_the_stored_token_is_tried_again_on_loopback_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    gateway = bench.another_gateway(token=TOKEN)
    url = f"ws://{host}:{gateway.port}"
    bench.connection(url=url, token=TOKEN).connect()
    before = len(gateway.handshakes)
    for name in list(os.environ):
        if name.startswith(("GWSYNC_", "OPENCLAW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GWSYNC_URL", url)
    monkeypatch.setenv("GWSYNC_TOKEN", "not-the-token")  # found, not said: rule 14
    config = gwsync.Config.discover(state_dir=bench.state_dir, reconnect=FAST)
    with gwsync.Connection(config) as connection:
        if host == "127.0.0.1":
            connection.connect()
        else:
            error = error_of(connection.connect)
            assert isinstance(error, gwsync.AuthError)
    tried = [handshake.params["auth"] for handshake in gateway.handshakes[before:]]
    assert [sorted(one) for one in tried[1:]] == ([["deviceToken"]] if host == "127.0.0.1" else [])


# -- 15: no line ends in what becomes a header ---------------------------------------------


@pytest.mark.parametrize("bad", ["\r", "\n", "\r\nX: y", "\0"])
def test_s15_control_characters_are_refused_everywhere(bad: str) -> None:
    good: dict[str, Any] = {"url": "wss://localhost"}
    for setting in (
        {"url": f"wss://local{bad}host"},
        {"url": f"wss://localhost/{bad}"},
        *({name: f"a{bad}b"} for name in (*CREDENTIALS, "server_name", "role")),
        {"scopes": (f"a{bad}b",)},
        {"headers": {f"X{bad}": "y"}},
        {"headers": {"X": f"a{bad}b"}},
    ):
        with pytest.raises(gwsync.ConfigError):
            gwsync.Config(**{**good, **setting})


# -- 19: what the code may not do ----------------------------------------------------------


def test_s19_nothing_received_is_ever_executed() -> None:
    wanted = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
    found = {(path.name, name) for path in SOURCES for name, _ in calls(path) if name in wanted}
    assert found == set()
    unsafe = {"pickle", "marshal", "shelve", "yaml", "dill"}
    assert {path.name for path in SOURCES if imported(path) & unsafe} == set()


def test_s19_the_import_works_without_any_network() -> None:
    source = """
import socket, sys
def no(*args, **options):
    raise RuntimeError("a socket")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = no
import gwsync, gwsync.testing, gwsync.cli
from gevent import monkey
assert not monkey.saved
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


# -- 20: what a gateway says cannot write to a log -----------------------------------------

NASTY = "\x1b[31mred\r\n2026-01-01 CRITICAL forged\x07\u202e\x9b2J\0"


def test_s20_a_gateways_words_are_escaped_in_logs_and_errors(
    bench: Bench, debug: pytest.LogCaptureFixture
) -> None:
    gateway = bench.another_gateway(token=TOKEN)

    def refuses(params: Any) -> Any:
        from gwsync.testing import GatewayRefusal

        raise GatewayRefusal(NASTY, NASTY, details={"code": NASTY, "reason": NASTY})

    gateway.on_method("refuses", refuses)
    log = Log()
    connection = bench.connection(url=gateway.url, token=TOKEN)
    connection.subscribe(log)
    connection.connect()
    errors = [error_of(connection.request, "refuses")]
    gateway.push(NASTY, {"text": NASTY})
    gateway.close_all(1012, NASTY)
    eventually(lambda: connection.status().reconnects, "it came back", 20)
    server = bench.server(answers(http(f"500 {NASTY}", NASTY, Server=NASTY)))
    errors.append(error_of(bench.connection(url=server.url, token="t").connect))
    shown = [str(error) for error in errors]
    shown += [error.hint for error in errors]
    shown += [push.reason for push in log.pushes if isinstance(push, gwsync.StateChange)]
    shown += [r.getMessage() for r in debug.records if not r.name.startswith("gwsync.testing")]
    for text in shown:
        assert text.isprintable(), repr(text)


# -- 21: a wrong secret is not tried again and again ---------------------------------------


def test_s21_refused_credentials_are_tried_at_most_three_times(bench: Bench) -> None:
    """The real gateway locks everybody of our address out after ten."""
    gateway = bench.another_gateway(token=TOKEN)
    log = Log()
    connection = bench.connection(url=gateway.url, token="not-the-token")
    connection.subscribe(log)  # dials in the background
    log.wait(lambda push: is_state(push, "parked"), "it gave up")
    callers = [
        threading.Thread(target=error_of, args=(connection.request, "health")) for _ in range(50)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(WAIT_S)
        assert not caller.is_alive()
    assert connection.status().state == "parked"
    assert connection.status().next_attempt_in is None
    assert 1 <= len(gateway.handshakes) <= 3


# -- 22: secrecy needs real randomness, and comparisons that take the same time ------------


def test_s22_randomness_for_secrets_is_the_systems() -> None:
    """The module random spreads waits, and does nothing else."""
    assert {path.name for path in SHIPPED if "random" in imported(path)} <= {
        "policy.py",
        "calls.py",
        "config.py",
    }


def test_s22_secrets_are_compared_in_constant_time() -> None:
    words = ("token", "password", "secret", "digest", "signature", "pin", "proof")
    found = []
    for path in SHIPPED:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
                sides = [node.left, *node.comparators]
                named = [one for one in sides if isinstance(one, (ast.Name, ast.Attribute))]
                last = [ast.unparse(one).rpartition(".")[2].lstrip("_") for one in named]
                if len(named) == len(sides) and any(word in words for word in last):
                    found.append(f"{path.name}: {ast.unparse(node)}")
    assert found == []
