"""gwsync relay as one starts it: what it says of mistakes, and whom it gives which secret."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest

from gwsync.relay import Relay, Route
from loopback.cli_support import Running, run
from loopback.support import Bench, RawServer, http, read_head, until_closed
from loopback.support_relay import Client

TO = ("--to", "http://127.0.0.1:1")


class Upstream:
    """Keeps the heads that it heard."""

    def __init__(self, bench: Bench) -> None:
        self.heads: list[str] = []
        self.server: RawServer = bench.server(self._serve)
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _serve(self, sock: socket.socket) -> None:
        self.heads.append(read_head(sock).decode())
        sock.sendall(http("200 OK", "hello").encode())
        until_closed(sock)


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ((*TO, "--listen", "8081"), "HOST:PORT", "for example --listen 127.0.0.1:8081"),
        ((*TO, "--listen", "0.0.0.0:0"), "lets in whoever", "give --token-file FILE, or have it"),
        ((*TO, "--header", "x"), "NAME:VALUE", "for example --header 'X-Name: value'"),
        ((*TO, "--inject-token", "/nope"), "--inject-token /nope cannot be read", "the token"),
        ((*TO, "--inject-token"), "no token for this gateway", "set GWSYNC_TOKEN, or"),
        ((*TO, *TO), "two --to have the same path", "PREFIX="),
        (("--to", "http://box.example"), "http://", "write https://box.example, or --allow-plain"),
        (("--tcp", "--to", "a:1", "--token-file", "x"), "--tcp has no --token-file", "bytes"),
        (("--tcp", "--to", "a:1", "--header", "a:b"), "--tcp has no --header", "bytes"),
        (("--tcp", "--to", "a:1", "--listen", "0.0.0.0:0"), "lets in", "listen on 127.0.0.1\n"),
        (
            ("--to", "/a=http://127.0.0.1:1", "--to", "/b=http://127.0.0.1:2", "--inject-token"),
            "which of the --to is the gateway?",
            "--inject-token PREFIX=FILE, for example /a=FILE",
        ),
    ],
)
def test_mistakes(options: tuple[str, ...], message: str, hint: str) -> None:
    done = run("relay", *options, env={})
    said, _, advice = done.stderr.partition("\n  -> ")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in said
    assert hint in advice
    assert "ws://" not in done.stderr


def test_the_help_fits_into_80_columns() -> None:
    done = run("relay", "--help", env={"COLUMNS": "80"})
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_gateways_token_from_the_environment(bench: Bench, tmp_path: Path) -> None:
    upstream = Upstream(bench)
    env = {"GWSYNC_TOKEN": "the-gateways-token", "GWSYNC_STATE_DIR": str(tmp_path)}
    options = ["--listen", "127.0.0.1:0", "--inject-token", "--to", upstream.url]
    with Running(["relay", *options], env=env) as running:
        url = running.line("serving").split()[-1]
        assert urllib.request.urlopen(url, timeout=10).read() == b"hello"
        line = running.note("GET /")
    assert "Authorization: Bearer the-gateways-token\r\n" in upstream.heads[0]
    assert "the-gateways-token" not in line


def test_a_token_of_another_gateways_stays_here(bench: Bench) -> None:
    env = {"GWSYNC_TOKEN": "secret", "GWSYNC_URL": "ws://127.0.0.1:1"}
    done = run("relay", "--inject-token", "--to", "http://127.0.0.1:2", env=env)
    assert "no token for this gateway" in done.stderr


def test_each_upstream_has_its_own_secrets(bench: Bench, tmp_path: Path) -> None:
    code, gateway = Upstream(bench), Upstream(bench)
    (tmp_path / "token").write_text("the-gateways-token\n")
    options = ["--to", f"/code={code.url}", "--to", f"/gw={gateway.url}"]
    options += ["--inject-token", f"/gw={tmp_path / 'token'}", "--header", "/code=X-Code: 1"]
    options += ["--header", "X-All: 1", "--listen", "127.0.0.1:0"]
    with Running(["relay", *options], env={"GWSYNC_STATE_DIR": str(tmp_path)}) as running:
        url = running.line("serving").split()[-1]
        for path in ("/code/", "/gw/"):
            assert urllib.request.urlopen(url + path, timeout=10).read() == b"hello"
    assert "X-Code: 1\r\n" in code.heads[0]
    assert "the-gateways-token" not in code.heads[0]
    assert "X-Code" not in gateway.heads[0]
    assert "Authorization: Bearer the-gateways-token\r\n" in gateway.heads[0]
    for one in (code, gateway):
        assert "X-All: 1\r\n" in one.heads[0]


@pytest.mark.parametrize("kind", [("--to",), ("--tcp", "--to")])
def test_an_address_of_ipv6_is_shown_as_one_types_it(kind: tuple[str, ...], bench: Bench) -> None:
    to = Upstream(bench).url.removeprefix("http://" if "--tcp" in kind else "")
    with Running(["relay", "--listen", "[::1]:0", *kind, to], env={}) as running:
        line = running.line("forwarding" if "--tcp" in kind else "serving")
        address = line.split()[1].removeprefix("http://")
        with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
            assert answer.read() == b"hello"


def test_a_service_that_knows_its_path(bench: Bench) -> None:
    """Its links begin with its base path: the relay leads there, and nothing is taken off."""
    upstream = Upstream(bench)
    options = ["--listen", "127.0.0.1:0", "--to", f"/term={upstream.url}/term"]
    with Running(["relay", *options], env={}) as running:
        url = running.line("serving").split()[-1]
        assert urllib.request.urlopen(url + "/term/a?b", timeout=10).read() == b"hello"
    assert upstream.heads[0].startswith("GET /term/a?b HTTP/1.1\r\n")


def test_its_own_token_from_the_environment(bench: Bench) -> None:
    upstream = Upstream(bench)
    options = ["--listen", "127.0.0.1:0", "--to", upstream.url]
    with Running(["relay", *options], env={"GWSYNC_RELAY_TOKEN": "what-clients-know"}) as running:
        port = int(running.line("serving").split(":")[2].partition("/")[0])
        with Client(port) as client:
            client.request()
            assert client.status() == 401
        with Client(port) as client:
            client.request("/", "X-Gwsync-Relay-Token: what-clients-know")
            assert client.status() == 200
    assert "what-clients-know" not in upstream.heads[0]


def test_the_log_says_why_it_is_not_healthy() -> None:
    options = ["--listen", "127.0.0.1:0", "--to", "http://127.0.0.1:1"]
    with Running(["relay", *options], env={}) as running:
        port = int(running.line("serving").rpartition(":")[2])
        with Client(port) as client:
            client.request("/healthz")
            assert b'{"ok": false, "finding": "TCP_REFUSED"}' in client.rest()
        assert " 503 TCP_REFUSED " in running.note("GET /healthz")


def test_a_refusal_says_what_would_let_it_in(bench: Bench) -> None:
    with Relay(routes=[Route("http://127.0.0.1:1")]) as relay, Client(relay.port) as client:
        client.say(b"GET / HTTP/1.1\r\nHost: box.example\r\n\r\n")
        said = client.rest().decode()
        assert "this relay is not known as box.example" in said
        assert "--allow-host NAME (allow_hosts)" in said
    with Relay(routes=[Route("http://127.0.0.1:1")]) as relay, Client(relay.port) as client:
        client.request("/", "Origin: http://other.example")
        assert "--allow-origin ORIGIN (allow_origins)" in client.rest().decode()
