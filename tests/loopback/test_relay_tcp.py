"""Plain TCP through the proxy, and the command line of both kinds of relay."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.relay import TcpForward
from loopback.cli_support import Running, run
from loopback.support import Bench, RawServer, answers, http, until_closed
from loopback.support_proxy import Proxy
from loopback.support_relay import Client


def counts(sock: socket.socket) -> None:
    """Answers with how much it was told, once the client has said that it is done."""
    sock.sendall(b"%d bytes" % len(until_closed(sock)))


@pytest.fixture
def server(bench: Bench) -> Iterator[RawServer]:
    return bench.server(lambda sock: (counts(sock), sock.shutdown(socket.SHUT_RDWR)))


def test_each_direction_ends_by_itself(server: RawServer) -> None:
    with TcpForward(f"127.0.0.1:{server.port}") as forward, Client(forward.port) as client:
        client.say(b"x" * 100_000)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.rest() == b"100000 bytes"


def test_by_way_of_a_proxy(bench: Bench, server: RawServer) -> None:
    proxy = Proxy(bench, "socks5")
    to = f"box.tailnet.ts.net:{server.port}"
    with TcpForward(to, proxy=proxy.url("socks5h")) as forward, Client(forward.port) as client:
        client.say(b"abc")
        eventually(lambda: server.accepted == 1, "it is there")
        client.sock.close()
    assert proxy.asked == [("box.tailnet.ts.net", server.port)]


def test_a_target_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "gwsync.relay"), TcpForward("127.0.0.1:1") as forward:
        with Client(forward.port) as client:
            assert client.rest() == b""
        eventually(lambda: caplog.records, "the line")
    assert "TCP_REFUSED" in caplog.records[0].getMessage()
    assert "ended by" not in caplog.records[0].getMessage()  # it never began


def test_what_cannot_be() -> None:
    with pytest.raises(gwsync.ConfigError, match="host:port"):
        TcpForward("http://box")
    with pytest.raises(gwsync.ConfigError, match="lets in"):
        TcpForward("127.0.0.1:1", listen=("0.0.0.0", 0))


def test_the_command(bench: Bench, tmp_path: Path) -> None:
    server = bench.server(answers(http("200 OK", "hello")))
    options = ["--listen", "127.0.0.1:0", "--to", f"http://127.0.0.1:{server.port}", "--status"]
    with Running(["relay", *options], env={}) as running:
        url = running.line("serving").split()[-1]
        assert running.line("status").endswith("/.gwsync/status")
        with urllib.request.urlopen(url + "/x?secret", timeout=10) as answer:
            assert answer.read() == b"hello"
        line = running.note("GET /x")
        assert " 200 | resolve " in line
        assert "secret" not in line
        running.signal(signal.SIGTERM)
        code, errors = running.end()
        assert (code, errors) == (0, "")


def test_the_command_for_tcp(bench: Bench, server: RawServer) -> None:
    options = ["--tcp", "--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{server.port}"]
    with Running(["relay", *options], env={}) as running:
        port = int(running.line("forwarding").split(":")[1].split()[0])
        with Client(port) as client:
            client.say(b"abc")
            client.sock.shutdown(socket.SHUT_WR)
            assert client.rest() == b"3 bytes"
        running.interrupt()
        assert running.end()[0] == 130


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "0.0.0.0:0", "--to", "http://127.0.0.1:1"], "token"),
        (["--listen", "nonsense", "--to", "http://127.0.0.1:1"], "HOST:PORT"),
        (["--to", "http://box.example"], "clear"),
        (["--to", "ftp://box"], "http://"),
        (["--tcp", "--to", "http://box"], "host:port"),
        (["--to", "http://127.0.0.1:1", "--header", "nonsense"], "NAME:VALUE"),
    ],
)
def test_a_command_that_cannot_be(options: list[str], words: str) -> None:
    done = run("relay", *options, env={})
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize(
    "leaves", ["", "relay.stop()", "os.fork() or sys.exit()", "os.fork() or relay.stop()"]
)
def test_a_script_ends_with_its_relay(leaves: str, bench: Bench) -> None:
    """Whether it stops the relay or not, and so do its forked children."""
    server = bench.server(answers(http("200 OK", "hello")))
    source = f"""
import os, sys, urllib.request
from gwsync.relay import Relay
relay = Relay("http://127.0.0.1:{server.port}").start()
assert urllib.request.urlopen(relay.url).read() == b"hello"
{leaves}
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", source],
        capture_output=True,
        timeout=30,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
