"""examples/flask_relay.py under real servers: those who signed in get through."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from conformance.tools import Program
from hosts.support import unix_only
from loopback.support import Bench
from loopback.support_relay import Client, frame

for needed in ("flask", "gunicorn"):
    pytest.importorskip(needed)

EXAMPLES = Path(__file__).parents[2] / "examples"
PYWSGI = """
import socket, sys
from gevent.pywsgi import WSGIServer
from gevent.socket import fromfd
from flask_relay import app
listener = fromfd(int(sys.argv[1]), socket.AF_INET, socket.SOCK_STREAM)
WSGIServer(listener, app, log=None).serve_forever()
"""
Headers = dict[str, str]


@contextmanager
def serving(bench: Bench, kind: str) -> Iterator[int]:
    """Its port; it waits for the service where that has not begun."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listener:
        fd = listener.fileno()
        command = [sys.executable, "-c", PYWSGI, str(fd)]
        if kind != "pywsgi":
            command = [sys.executable, "-m", "gunicorn", "flask_relay:app", "--worker-class", kind]
            command += ["--bind", f"fd://{fd}", "--graceful-timeout", "1", "--no-control-socket"]
        env = {**os.environ, **bench.environment(), "PASSWORD": "open sesame"}
        with Program(command, env, cwd=EXAMPLES, pass_fds=[fd]):
            yield listener.getsockname()[1]


def ask(
    port: int, path: str, *, body: str | None = None, **headers: str
) -> tuple[int, str, Headers]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as http:
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        http.request("GET" if body is None else "POST", path, body, headers)
        response = http.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())


def sign_in(port: int) -> str:
    """The session's cookie."""
    status, _, headers = ask(port, "/login", body="password=open+sesame")
    assert status == 302
    return headers["Set-Cookie"].partition(";")[0]


@unix_only
@pytest.mark.parametrize("kind", ["gevent", "pywsgi"])
def test_who_signed_in_reaches_the_gateway(bench: Bench, kind: str) -> None:
    with serving(bench, kind) as port:
        assert ask(port, "/")[0] == 200
        status, said, _ = ask(port, "/dev/ws/healthz")
        assert (status, "this service does not permit it" in said) == (403, True)
        cookie = sign_in(port)
        assert ask(port, "/dev/ws/healthz", Cookie=cookie)[:2] == (
            200,
            '{"ok":true,"status":"live"}',
        )
        with Client(port) as client:
            client.upgrade("/dev/ws/", f"Cookie: {cookie}")
            assert client.head().startswith("HTTP/1.1 101 ")
            assert b"connect.challenge" in client.until(b'"nonce"')
            client.say(frame(8, b"\x03\xe8", masked=True))
            assert client.rest().endswith(frame(8, b"\x03\xe8"))  # the gateway's answer
        for lines in ((), (f"Cookie: {cookie}x",)):
            with Client(port) as client:
                client.upgrade("/dev/ws/", *lines)
                assert client.status() == 403


@unix_only
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_worker_without_gevent(bench: Bench, kind: str) -> None:
    with serving(bench, kind) as port:
        cookie = sign_in(port)
        assert ask(port, "/dev/ws/healthz", Cookie=cookie)[0] == 200
        with Client(port) as client:
            client.sock.settimeout(60)
            client.upgrade("/dev/ws/", f"Cookie: {cookie}")
            said = client.rest().decode()
        assert said.startswith("HTTP/1.1 501 ")
        assert "this server has no WebSockets for its applications" in said
        assert "gunicorn --worker-class gevent" in said
