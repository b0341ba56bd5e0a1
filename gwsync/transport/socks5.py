"""SOCKS5 (RFC 1928, 1929) as a conversation without I/O.

Ours rather than PySocks', which sends lengths over 127 bytes corrupt, leaves out an empty
password, gives each recv the whole timeout, and cannot say where it was when it failed.
A generator yields what to send, or how many bytes it must have next: never more than are
its own, so that what follows the reply is the target's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Generator
from typing import NamedTuple

from .strangers import stranger
from .talk import Refused, Talk

CONNECT, UDP_ASSOCIATE = 1, 3
_NO_AUTH, _GSSAPI, _PASSWORD, _NONE_ACCEPTED = 0, 1, 2, 0xFF
_IPV4, _NAME, _IPV6 = 1, 3, 4


class Say(NamedTuple):
    """Bytes to send, and what of them may be shown."""

    data: bytes
    shown: bytes | None = None


class Want(NamedTuple):
    """How many bytes to read, and what they are the answer to."""

    size: int
    phase: str


Dialogue = Generator["Say | Want", bytes, str]

_REPLIES = {
    1: (
        "TARGET_GENERAL_FAILURE",
        "the proxy could not connect to {target} and does not say why",
        "refused, unknown name or, for Tailscale, a peer that is not there: see the proxy's log",
    ),
    2: ("TARGET_DENIED_BY_PROXY", "the proxy's rules forbid {target}", "ask who runs the proxy"),
    3: ("TARGET_NET_UNREACHABLE", "the proxy has no route to the network of {target}", ""),
    4: (
        "TARGET_HOST_UNREACHABLE",
        "the proxy cannot reach {target}",
        "is the name right? Some proxies say this for unknown names too",
    ),
    5: (
        "TARGET_REFUSED",
        "{target} refused the proxy's connection",
        "is the gateway running, and is the port right?",
    ),
    6: ("TARGET_TTL_EXPIRED", "the way from the proxy to {target} did not end", ""),
    7: ("PROXY_NO_CONNECT_COMMAND", "the proxy does not make connections", "use another proxy"),
    8: (
        "PROXY_ATYP_UNSUPPORTED",
        "the proxy does not take this kind of address",
        "give the target by name, or by IPv4 address",
    ),
}


def dialogue(
    host: str,
    port: int,
    user: str | None = None,
    password: str | None = None,
    command: int = CONNECT,
    overhear: Callable[[bytes], bytes] = bytes,
) -> Dialogue:
    """From the greeting to the reply; returns how we were let in, "none" or "password".

    ``overhear``: adds what else an answer that is no SOCKS5 holds. Raises Refused.
    """
    methods = bytes([_NO_AUTH]) if user is None else bytes([_NO_AUTH, _PASSWORD])
    yield Say(bytes([5, len(methods)]) + methods)
    first = yield Want(1, "greeting")
    if first != b"\x05":
        raise stranger(overhear(first), "SOCKS5")
    method = (yield Want(1, "greeting"))[0]
    _check_method(method, user is not None)
    if method == _PASSWORD:
        yield _credentials(user or "", password or "")
        if (yield Want(2, "auth"))[1] != 0:
            raise Refused(
                "PROXY_AUTH_WRONG",
                "the proxy refused the user name or the password",
                "check both; in the URL, special characters are written as %XX",
            )
    yield Say(bytes([5, command, 0]) + _address(host) + port.to_bytes(2, "big"))
    yield from _reply(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", overhear)
    return "password" if method == _PASSWORD else "none"


def _check_method(method: int, offered: bool) -> None:
    if method == _NO_AUTH or (method == _PASSWORD and offered):
        return
    if method == _PASSWORD or (method == _NONE_ACCEPTED and not offered):
        raise Refused(
            "PROXY_AUTH_REQUIRED",
            "the proxy wants a user name and password",
            "write them into its URL: socks5h://USER:PASSWORD@host:port",
        )
    if method == _NONE_ACCEPTED:
        raise Refused(
            "PROXY_AUTH_METHOD_REJECTED",
            "the proxy accepts neither a user name with password nor none",
            "it may want GSSAPI, or not want this client",
        )
    kind = "GSSAPI" if method == _GSSAPI else f"method {method:#04x}"
    raise Refused(
        "PROXY_AUTH_METHOD_UNSUPPORTED",
        f"the proxy wants authentication by {kind}, which gwsync does not speak",
        "let it accept a user name and password",
    )


def _credentials(user: str, password: str) -> Say:
    name, secret = user.encode(), password.encode()
    data = bytes([1, len(name)]) + name + bytes([len(secret)]) + secret
    return Say(data, b"\x01***")


def _address(host: str) -> bytes:
    try:
        literal = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host.encode("ascii")
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV4 if literal.version == 4 else _IPV6]) + literal.packed


def _reply(target: str, overhear: Callable[[bytes], bytes]) -> Generator[Say | Want, bytes, None]:
    version, code = yield Want(2, "request")
    if version != 5:
        raise stranger(overhear(bytes([version, code])), "SOCKS5")
    if code:
        finding, message, hint = _REPLIES.get(
            code, ("PROXY_UNKNOWN_REP", f"the proxy answers with the unknown code {code:#04x}", "")
        )
        raise Refused(finding, message.format(target=target), hint)
    _, kind = yield Want(2, "request")
    if kind == _NAME:
        size = (yield Want(1, "request"))[0]
    elif kind in (_IPV4, _IPV6):
        size = 4 if kind == _IPV4 else 16
    else:
        raise Refused(
            "PROXY_UNKNOWN_REPLY", f"the proxy's reply has an address of unknown kind {kind:#04x}"
        )
    yield Want(size + 2, "request")


def converse(talk: Talk, steps: Dialogue) -> str:
    """Carry the dialogue over a socket. Raises Refused, Ended, TimeoutError."""
    answer = b""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Say):
                talk.send(*step)
                step = steps.send(b"")
            else:
                talk.phase = step.phase
                answer = talk.read(step.size)
                step = steps.send(answer)
    except StopIteration as end:
        return str(end.value)
    finally:
        steps.close()
