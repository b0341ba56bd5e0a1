"""What a WSGI server made of a request, made whole again: its head, its body, its connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import gevent
from gevent import ssl as gevent_ssl

from .. import limits
from . import heads
from .heads import Request
from .stream import Gone, Stream

Environ = dict[str, Any]
_PATH = "/:@!$&'()*+,;=-._~"


def target_of(environ: Environ) -> str:
    """Path and query, as they were sent if the server kept that."""
    target = str(environ.get("RAW_URI") or "")
    if not target.startswith("/"):  # pywsgi keeps the decoded path only
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        query = environ.get("QUERY_STRING", "")
        target = quote(path.encode("latin-1"), safe=_PATH) or "/"
        target += f"?{query}" if query else ""
    return target


def request_of(environ: Environ) -> Request:
    """The head that the server took apart, put together, and read as strictly as any."""
    target = target_of(environ)
    lines = [f"{environ['REQUEST_METHOD']} {target} {environ.get('SERVER_PROTOCOL', 'HTTP/1.1')}"]
    for key, value in environ.items():
        if key.startswith("HTTP_") and key != "HTTP_EXPECT":  # that is between it and the client
            lines.append(f"{key[5:].replace('_', '-').title()}: {value}")
    if environ.get("CONTENT_TYPE"):
        lines.append(f"Content-Type: {environ['CONTENT_TYPE']}")
    chunked = "HTTP_TRANSFER_ENCODING" in environ
    if environ.get("CONTENT_LENGTH") and not chunked:
        lines.append(f"Content-Length: {environ['CONTENT_LENGTH']}")
    secure = environ.get("wsgi.url_scheme") == "https"
    return heads.request("\r\n".join(lines).encode("latin-1"), secure=secure)


def input_of(environ: Environ, request: Request) -> Iterator[bytes]:
    """The body, as the server hands it out. Raises Gone, and what the server raises."""
    source, left = environ["wsgi.input"], request.length
    while left is None or left > 0:
        if not request.has_body:
            return
        data = source.read(limits.RELAY_COPY_BYTES if left is None else min(left, 65536))
        if not data:
            if left is None:
                return
            raise Gone("the request's body broke off")
        left = None if left is None else left - len(data)
        yield data


class _Joined:
    """A socket whose first bytes the server has read already."""

    def __init__(self, sock: Any, read: Callable[[int], bytes]) -> None:
        self._whole = sock
        self.recv = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


def near_of(environ: Environ) -> Stream | None:
    """The client's connection, if this server runs on gevent and lets one have it."""
    source = environ["wsgi.input"]
    sock = environ.get("gunicorn.socket")
    if sock is not None and _cooperates(sock):
        unreader = getattr(getattr(source, "reader", None), "unreader", None)
        kept = getattr(unreader, "buf", None)
        return Stream(sock, kept.getvalue() if kept is not None else b"")
    sock = getattr(getattr(source, "raw", None), "_sock", None)
    if sock is not None and _cooperates(sock):
        return Stream(_Joined(sock, source.read1))
    return None


def _cooperates(sock: Any) -> bool:
    return isinstance(sock, (gevent.socket.socket, gevent_ssl.SSLSocket))
