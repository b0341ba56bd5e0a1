"""How TLS with a proxy ends before it began."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from gwsync.transport import proxy_tls
from gwsync.transport.deadline import Deadline
from gwsync.transport.talk import Ended


class Closing:
    """A TLS context, and a socket whose other side hangs up in the handshake."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.closed = False

    def wrap_socket(self, sock: Any, **options: Any) -> Closing:
        return self

    def do_handshake(self) -> None:
        raise self.error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed (EOF)"),  # Python 3.11.2
        ConnectionResetError(104, "Connection reset by peer"),
    ],
)
def test_a_proxy_that_hangs_up_has_not_failed_at_tls(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sock = Closing(error)
    monkeypatch.setattr(proxy_tls, "proxy_context", lambda ca_file: sock)
    with pytest.raises(Ended):
        proxy_tls.wrap(sock, "proxy", None, Deadline(5))
    assert sock.closed
