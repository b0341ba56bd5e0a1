"""SOCKS4 and SOCKS4a by PySocks, over a gevent socket of ours and without patching.

PySocks opens its socket itself and blocks the thread in it. Put between its class and the
socket class that it derives from, :class:`_OverTalk` is what every call of it ends in
instead: it is connected already, reads and writes the dialogue with its one deadline, and
never has a descriptor of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from .strangers import stranger
from .talk import Ended, Refused, Talk

_CODE = re.compile(r"0x([0-9a-f]{2}):")
_GRANTED, _REJECTED, _NO_IDENTD, _OTHER_USER = 0x5A, 0x5B, 0x5C, 0x5D


@lru_cache(maxsize=1)
def _socket_class() -> Any:
    import socks  # type: ignore[import-untyped]  # late: few need it

    base: Any = socks._BaseSocket

    class _OverTalk(base):  # type: ignore[misc]
        def __init__(self, *args: Any) -> None:
            """Not the socket's own: that would open one."""

        def settimeout(self, timeout: float | None) -> None:
            """The deadline is the whole dialogue's, and the talk has it."""

        def connect(self, address: Any) -> None:
            """The talk is with the proxy already."""

        def makefile(self, mode: str, *args: Any) -> Any:
            return _File(self.talk)

        def close(self) -> None:
            """The connection belongs to who made it."""

    class _Socks(socks.socksocket, _OverTalk):  # type: ignore[misc]
        pass

    return _Socks


class _File:
    """As much of a file as PySocks writes its request to and reads the reply from."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._unsent = b""

    def write(self, data: bytes) -> None:
        self._unsent += data

    def flush(self) -> None:
        data, self._unsent = self._unsent, b""
        # version, command, port, address, user name, NUL, and for SOCKS4a the host's name
        end = data.index(b"\0", 8)
        self._talk.send(data, data[:8] + b"***" + data[end:] if end > 8 else data)

    def read(self, size: int) -> bytes:
        self._talk.phase = "request"
        return self._talk.read(size)

    def close(self) -> None:
        """Not the connection."""


def connect(talk: Talk, host: str, port: int, user: str | None, *, by_name: bool) -> str:
    """Ask for a tunnel; how we were let in. Raises Refused, Ended, TimeoutError."""
    import socks

    if ":" in host:
        raise Refused(
            "PROXY_ATYP_UNSUPPORTED", "SOCKS4 reaches IPv4 addresses only", "write socks5h://"
        )
    client = _socket_class()()
    client.talk = talk
    client.set_proxy(socks.SOCKS4, "proxy", 1, by_name, user)
    try:
        client.connect((host, port))
    except Ended:
        if talk.received and not talk.received.startswith(b"\0"):
            raise stranger(talk.received, "SOCKS4") from None
        raise
    except socks.ProxyError as error:
        # PySocks wraps everything, its own errors too, in "Socket error".
        cause = getattr(error, "socket_err", None) or error
        if isinstance(cause, TimeoutError):
            raise cause from None
        raise _refusal(talk, cause, f"{host}:{port}") from error
    return "none" if user is None else "password"


def _refusal(talk: Talk, cause: BaseException, target: str) -> Refused | Ended:
    code = _CODE.match(str(getattr(cause, "msg", cause)))
    if code is None:
        return stranger(talk.overhear(talk.received), "SOCKS4")
    number = int(code[1], 16)
    if number in (_NO_IDENTD, _OTHER_USER):
        return Refused(
            "PROXY_AUTH_REQUIRED" if number == _NO_IDENTD else "PROXY_AUTH_WRONG",
            "the proxy wants this machine's identd to confirm the user name",
            "write the user name into its URL: socks4a://USER@host:port",
        )
    if number == _REJECTED:
        return Refused(
            "TARGET_GENERAL_FAILURE",
            f"the proxy could not connect to {target}, or may not, and does not say why",
            "refused, or an unknown name: see the proxy's log; some want socks5h://",
        )
    return Refused("PROXY_UNKNOWN_REP", f"the proxy answers with the unknown code {number:#04x}")
