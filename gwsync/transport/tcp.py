"""Stage ``tcp``: a connected socket, every address tried in turn."""

from __future__ import annotations

import socket as stdlib_socket
from typing import Any

from gevent import socket

from .. import limits
from ..errors import DialTimeout, TcpError
from .deadline import Deadline
from .resolve import Address
from .trace import Tracer


def connect(addresses: list[Address], deadline: Deadline, tracer: Tracer) -> Any:
    """A gevent socket to the first address that accepts, with TCP_NODELAY set.

    Each address gets its share of what is left, so that one that swallows packets
    leaves time for the next.
    """
    where = ", ".join(_shown(address) for address in addresses)
    with tracer.stage("tcp", f"connecting to {where}") as note:
        failures: list[str] = []
        timed_out = False
        for index, address in enumerate(addresses):
            share = deadline.remaining() / (len(addresses) - index)
            limit = deadline.within(min(limits.TCP_TIMEOUT_S, share))
            try:
                sock = _open(address, limit)
            except OSError as error:
                timed_out = isinstance(error, TimeoutError)
                reason = "timed out" if timed_out else (error.strerror or str(error))
                failures.append(f"{_shown(address)} {reason.lower()}")
                continue
            note.detail = "; ".join([*failures, f"connected to {_shown(address)}"])
            return sock
        message = f"no TCP connection: {'; '.join(failures)}"
        if timed_out and len(failures) == len(addresses) and deadline.passed:
            raise DialTimeout(message, stage="tcp", hint=_hint(failures))
        raise TcpError(message, hint=_hint(failures))


def _open(address: Address, limit: Deadline) -> Any:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(limit.remaining(), 0.001))
        sock.connect(address)
        sock.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _shown(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _hint(failures: list[str]) -> str:
    if all("refused" in failure for failure in failures):
        return "nothing listens there: is the gateway running, and is the port right?"
    return "check that the host is up and that no firewall or VPN is in the way"
