"""FaultProxy: a TCP proxy on loopback that does to a connection what networks do."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .. import endpoint
from .fault_core import FaultCore
from .faults import ENDS, Recording, directions, whole
from .handle import HubHandle

T = TypeVar("T")


class HasUrl(Protocol):
    """A started LocalGateway, or another FaultProxy."""

    @property
    def url(self) -> str: ...


class FaultProxy(HubHandle):
    """Stands between a client and a gateway, and passes bytes on, or not.

    ::

        with LocalGateway() as gateway, FaultProxy(gateway) as proxy:
            connection = gwsync.Connection(gwsync.Config(url=proxy.url, token=gateway.token))
            connection.request("health")
            proxy.freeze()                      # a dead NAT: the sockets stay, nothing comes

    ``target``: a LocalGateway (or whatever has a ``url``), a ws or wss URL, or
    ``"host:port"``. TLS goes through untouched: with wss the certificate is for the target's
    name, so set ``Config.server_name``.

    Faults may be set at any time, from any thread or greenlet, and hold for every connection,
    present and future, until changed or :meth:`heal`; they add up. ``direction`` is ``"up"``
    (from client to gateway), ``"down"`` or ``"both"``. No byte is lost or changes its place
    but where a fault says so. When the target cannot be reached, the client is reset.
    """

    _what = "proxy"

    def __init__(self, target: HasUrl | str) -> None:
        super().__init__()
        self._target = target
        self._url: endpoint.Endpoint | None = None
        self._core = FaultCore(self._changed)

    # -- life -------------------------------------------------------------------
    def start(self) -> FaultProxy:
        """Look the target up and listen. A second call does nothing."""
        if self._url is not None:
            if self._hub is None:
                raise RuntimeError("a stopped proxy stays stopped; make another")
            return self
        url = self._target if isinstance(self._target, str) else self._target.url
        parsed = endpoint.parse(url if "://" in url else f"ws://{url}", allow_plaintext=True)
        self._core.addresses = socket.getaddrinfo(parsed.host, parsed.port, type=socket.SOCK_STREAM)
        self._start_hub("gwsync-fault-proxy")
        try:
            self._in_greenlet(None, self._core.listen)
        except BaseException:
            self.stop()
            raise
        self._url = parsed
        return self

    def stop(self) -> None:
        """Close every connection and the listener. Idempotent."""
        self._stop_hub(self._core.shut)

    def __enter__(self) -> FaultProxy:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "not started" if self._url is None else self.url
        return f"<FaultProxy {state}, {self.connections} open>"

    # -- what it sees -----------------------------------------------------------
    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; 0 before the start."""
        return self._core.door.port

    @property
    def url(self) -> str:
        """The target's URL by way of here: its scheme, path and query."""
        if self._url is None:
            raise RuntimeError("the proxy is not started: use `with FaultProxy(...) as proxy`")
        scheme = "wss" if self._url.secure else "ws"
        resource = "" if self._url.resource == "/" else self._url.resource
        return f"{scheme}://127.0.0.1:{self.port}{resource}"

    @property
    def connections(self) -> int:
        """Connections open now: through to the target, and not cut."""
        return len(self._core.open_pairs)

    @property
    def connections_total(self) -> int:
        """Connections ever accepted, the refused and reset ones included."""
        return self._core.accepted

    @property
    def bytes_up(self) -> int:
        """Bytes passed on to the gateway so far, over all connections."""
        return self._passed("up")

    @property
    def bytes_down(self) -> int:
        """Bytes passed on to clients so far, over all connections."""
        return self._passed("down")

    def record(self) -> Recording:
        """Keep a copy of all bytes that come here from now on, before faults touch them.

        A second call begins another recording; the first one keeps what it has.
        """
        recording = Recording()
        self._on_hub(self._core.record, recording)
        return recording

    def wait_for(
        self, predicate: Callable[[FaultProxy], T], timeout: float = 5.0, what: str = ""
    ) -> T:
        """Block until ``predicate(proxy)`` is true and return it; TimeoutError after seconds."""
        label = what or getattr(predicate, "__name__", "the condition")
        return self._block_until(lambda: predicate(self), timeout, label)

    # -- faults -----------------------------------------------------------------
    def delay(self, seconds: float, direction: str = "both") -> None:
        """Pass each byte on ``seconds`` after it came; 0 ends it."""
        self._set(direction, delay=_seconds(seconds))

    def throttle(self, bytes_per_second: float, direction: str = "both") -> None:
        """Pass on at most that much, per connection and direction."""
        if not bytes_per_second > 0:
            raise ValueError(f"bytes_per_second must be more than 0, not {bytes_per_second!r}")
        rate = None if math.isinf(bytes_per_second) else float(bytes_per_second)
        self._set(direction, rate=rate)

    def split(self, size: int = 1, direction: str = "both") -> None:
        """Pass bytes on in segments of at most ``size`` bytes (TCP_NODELAY is always set)."""
        self._set(direction, split=whole("size", size, 1))

    def stop_reading(self, direction: str = "up") -> None:
        """Read no more from the client (up) or gateway (down): its window closes.

        The systems' buffers still take what fits, some megabytes at most. Nothing is lost:
        after :meth:`heal` all of it arrives. ``"both"`` is a network that is away for a while.
        """
        self._set(direction, stopped=True)

    def freeze(self, after: int = 0, direction: str = "both", *, once: bool = False) -> None:
        """Swallow everything from ``after`` more bytes of each flow on; sockets stay open.

        A dead NAT: neither bytes nor ends (FIN, RST) come through. A flow that lost bytes
        stays dead after :meth:`heal`, as TCP has no holes; other connections are well then.
        ``once``: only the first flow of each direction that gets there, no later one.
        """
        self._set(direction, "freeze", freeze_after=whole("after", after), freeze_once=once)

    def corrupt(self, offset: int = 0, xor: int = 0xFF, direction: str = "down") -> None:
        """Change one byte of each flow: the one ``offset`` bytes from now. May be repeated."""
        if not 0 < whole("xor", xor) < 256:
            raise ValueError(f"xor must be from 1 to 255, not {xor!r}")
        whole("offset", offset)
        self._on_hub(self._core.flip, directions(direction), offset, xor)

    def tamper(self, function: Callable[[bytes], bytes] | None, direction: str = "down") -> None:
        """Pass on ``function(data)`` for each piece of data, however the network cut them.

        It runs on the proxy's own thread and must not block; if it raises, the connection is
        reset. None ends it.
        """
        self._set(direction, tamper=function)

    def cut(
        self, after: int = 0, how: str = "rst", direction: str = "down", *, once: bool = False
    ) -> None:
        """End each connection when exactly ``after`` more bytes went that way.

        Both sides get a RST, or (``"fin"``) a FIN, and nothing that came later. Also for each
        future connection, from its first byte; ``after=0`` ends those as soon as they are made.
        ``once``: only the first connection that gets there, no later one.
        """
        if how not in ENDS:
            raise ValueError(f"how must be 'rst' or 'fin', not {how!r}")
        values = {"cut_after": whole("after", after), "cut_how": how, "cut_once": once}
        self._set(direction, "cut", **values)

    def reset(self) -> int:
        """Reset all connections there are (RST to both sides); how many those were."""
        return self._on_hub(self._core.reset)

    def half_close(self, direction: str = "down") -> int:
        """FIN in one direction of all connections there are, the other goes on; how many."""
        return self._on_hub(self._core.half_close, directions(direction))

    def refuse(self, how: str = "refuse") -> None:
        """Let nobody in: connecting is refused, or (``"reset"``) accepted and reset.

        The connections there are go on, and the port stays this proxy's.
        """
        if how not in ("refuse", "reset"):
            raise ValueError(f"how must be 'refuse' or 'reset', not {how!r}")
        self._in_greenlet(None, self._core.admit, how == "reset", how == "reset")

    def heal(self) -> None:
        """No faults any more. What was held back goes on; what is lost or ended stays so."""
        self._in_greenlet(None, self._core.heal)

    # -- inside -----------------------------------------------------------------
    def _set(self, direction: str, armed: str = "", **values: Any) -> None:
        self._on_hub(self._core.set, directions(direction), armed, values)

    def _passed(self, direction: str) -> int:
        # Asked there: a receiver may have its bytes before they are counted.
        if self._hub is None:
            return self._core.bytes[direction]
        return self._on_hub(self._core.bytes.__getitem__, direction)

    def _sockets(self) -> list[Any]:
        pairs = [sock for pair in tuple(self._core.pairs) for sock in pair.sockets]
        return [*self._core.door.sockets, *self._core.arriving, *pairs]


def _seconds(value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"seconds must be 0 or more, not {value!r}")
    return float(value)
