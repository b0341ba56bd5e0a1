"""Stage ``tcp``: a connected socket, every address tried.

One after another by default; as a race with staggered starts (RFC 8305 section 5)
where both families may be dialled, so that a dead one costs a quarter of a second.
"""

from __future__ import annotations

import socket as stdlib_socket
from collections import deque
from typing import Any

import gevent
from gevent import socket
from gevent.queue import Empty, Queue  # in gevent 24.11 its SimpleQueue blocks the hub

from .. import limits
from ..errors import DialTimeout, TcpError
from .deadline import Deadline
from .resolve import Address
from .trace import Tracer


def connect(
    addresses: list[Address],
    deadline: Deadline,
    tracer: Tracer,
    *,
    race: bool = False,
    limit_s: float = limits.TCP_TIMEOUT_S,
    failures: dict[Address, OSError] | None = None,
) -> tuple[Any, Address]:
    """A gevent socket with TCP_NODELAY set, and the address that accepted.

    The socket may not know it any more: it can be reset by now.

    Each address has ``limit_s`` seconds at most. In turn, each has a share of what is
    left, so that one that swallows packets leaves time for the next. ``failures`` is
    filled with what became of the others, for a caller who has more to say about it.
    """
    where = ", ".join(shown(address) for address in addresses)
    with tracer.stage("tcp", f"connecting to {where}") as note:
        failures = {} if failures is None else failures
        way = _race if race and len(addresses) > 1 else _in_turn
        sock, address = way(addresses, deadline, limit_s, failures)
        told = [f"{shown(at)} {reason(error)}" for at, error in failures.items()]
        if sock is not None:
            note.detail = "; ".join([*told, f"connected to {shown(address)}"])
            return sock, address
        message = f"no TCP connection: {'; '.join(told) or 'timed out'}"
        timeouts = [error for error in failures.values() if isinstance(error, TimeoutError)]
        if deadline.passed and len(timeouts) == len(failures):
            raise DialTimeout(message, stage="tcp", hint=_hint(failures))
        raise TcpError(message, hint=_hint(failures))


def _in_turn(
    addresses: list[Address], deadline: Deadline, limit_s: float, failures: dict[Address, OSError]
) -> tuple[Any, Any]:
    for index, address in enumerate(addresses):
        share = deadline.remaining() / (len(addresses) - index)
        try:
            return _open(address, deadline.within(min(limit_s, share))), address
        except OSError as error:
            failures[address] = error
    return None, None


def _race(
    addresses: list[Address], deadline: Deadline, limit_s: float, failures: dict[Address, OSError]
) -> tuple[Any, Any]:
    outcomes: Queue[tuple[Address, Any, OSError | None]] = Queue()

    def run(address: Address) -> None:
        try:
            outcomes.put((address, _open(address, deadline.within(limit_s)), None))
        except OSError as error:
            outcomes.put((address, None, error))

    waiting = deque(addresses)
    runners: list[Any] = []
    try:
        while waiting or len(failures) < len(runners):
            if waiting:
                runners.append(gevent.spawn(run, waiting.popleft()))
            pause = limits.CONNECTION_ATTEMPT_DELAY_S if waiting else deadline.remaining()
            try:
                address, sock, error = outcomes.get(timeout=max(pause, 0.001))
            except Empty:
                if deadline.passed:
                    break
                continue  # the next one starts beside those under way
            if error is None:
                return sock, address
            failures[address] = error
        return None, None
    finally:
        gevent.killall(runners)  # each closes its own socket
        while not outcomes.empty():  # but one may have won a moment too late
            late = outcomes.get()[1]
            if late is not None:
                late.close()


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


def reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror or str(error)).lower()


def shown(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _hint(failures: dict[Address, OSError]) -> str:
    if failures and all(isinstance(error, ConnectionRefusedError) for error in failures.values()):
        return "nothing listens there: is the gateway running, and is the port right?"
    return "check that the host is up and that no firewall or VPN is in the way"
