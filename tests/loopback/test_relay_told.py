"""What a relay tells of itself: its status while something goes through, its log, its pages."""

from __future__ import annotations

import logging
import socket
import threading

import pytest

from conformance.tools import eventually
from gwsync.relay import Relay
from loopback.support import Bench, answers, http, read_head, until_closed
from loopback.support_relay import Client, relay_to


def test_an_answer_under_way_is_counted(bench: Bench) -> None:
    """A download or a stream of events may take hours: its row says how far it is."""
    go_on = threading.Event()

    def streams(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"x" * 2000)
        go_on.wait(30)
        sock.sendall(b"y" * 1000)
        until_closed(sock)

    with relay_to(bench.server(streams).port) as relay, Client(relay.port) as client:
        client.request("/download")
        client.head()
        client.exactly(2000)
        (row,) = relay.status().connections
        assert (row.what, row.status, row.kind) == ("GET /download", 200, "http")
        assert 2000 < row.bytes_down < 2500
        assert 20 < row.bytes_up < 200
        assert relay.status().bytes_down == row.bytes_down
        go_on.set()
        client.exactly(1000)
        eventually(lambda: not relay.status().connections, "it is over")
        assert relay.status().bytes_down == row.bytes_down + 1000
        assert relay.status().bytes_up == row.bytes_up


def test_who_looks_at_it_does_not_fill_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    server = bench.server(answers(http("200 OK", "hello")))
    with (
        caplog.at_level("INFO", "gwsync.relay"),
        relay_to(server.port, status_page=True) as relay,
    ):
        for path in ("/.gwsync/status", "/healthz", "/.gwsync/status", "/x"):
            with Client(relay.port) as client:
                client.request(path, "Connection: close")
                assert b" 200 OK" in client.rest()
        eventually(lambda: caplog.records, "the line")
        assert relay.status().requests == 4
    (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.INFO]
    assert " GET /x -> " in line


def test_hints_are_about_http(bench: Bench) -> None:
    def plain(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(http("400 Bad Request", "what?").encode())

    server = bench.server(plain)
    with Relay(f"https://127.0.0.1:{server.port}") as relay, Client(relay.port) as client:
        client.request()
        assert "http:// instead of https://" in client.rest().decode()


def test_hints_do_not_take_the_upstream_for_a_gateway() -> None:
    with Relay("http://127.0.0.1:1") as relay, Client(relay.port) as client:
        client.request("/", "Accept: text/html")
        said = client.rest().decode()
    assert "nothing listens there: is the upstream running, and is the port right?" in said
    assert "gateway" not in said.lower().replace("502 bad gateway", "")
