"""What a test sees of its gateway, and how it waits until it sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .core import Core
from .handle import HubHandle
from .options import Options, Phase
from .records import Handshake, Received

T = TypeVar("T")
G = TypeVar("G", bound="GatewayViews")


class GatewayViews(HubHandle):
    """The reading half of LocalGateway."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self._options = options
        self._core: Core | None = None

    def __repr__(self) -> str:
        return f"<LocalGateway {self.url} {self.phase}, {self.connections_open} open>"

    # -- what it is -------------------------------------------------------------
    @property
    def port(self) -> int:
        """The TCP port; stays the same across restarts."""
        return self._core.door.port if self._core is not None else self._options.port

    @property
    def url(self) -> str:
        """``ws://127.0.0.1:PORT``."""
        host = self._options.host
        return f"ws://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def phase(self) -> str:
        """``accepting``, ``closing``, ``down``, ``starting`` or ``stopped``."""
        return self._core.phase.value if self._core is not None else Phase.STOPPED.value

    @property
    def boot_id(self) -> str:
        """As in ``hello.server.bootId``; another one after each restart."""
        return self._need().boot.id

    @property
    def connections_open(self) -> int:
        """Connections past hello that are still there."""
        return self._core.open if self._core is not None else 0

    @property
    def connections_total(self) -> int:
        """Connections that ever got hello, over all restarts."""
        return self._core.total if self._core is not None else 0

    @property
    def sockets_total(self) -> int:
        """TCP connections ever accepted, whatever became of them."""
        return self._core.sockets if self._core is not None else 0

    @property
    def ledger(self) -> list[Received]:
        """Every request received so far, except ``connect``; also refused ones."""
        return list(self._core.ledger) if self._core is not None else []

    @property
    def executed(self) -> list[Received]:
        """The requests that were carried out: none refused, no repeated idempotency key."""
        return list(self._core.executed) if self._core is not None else []

    @property
    def handshakes(self) -> list[Handshake]:
        """Every ``connect`` that was decided on so far."""
        return list(self._core.reception.handshakes) if self._core is not None else []

    # -- waiting ----------------------------------------------------------------
    def wait_for(self: G, predicate: Callable[[G], T], timeout: float = 5.0, what: str = "") -> T:
        """Block until ``predicate(gateway)`` is true and return it; TimeoutError otherwise.

        Looked at again whenever something changes here; waits the way the caller's
        thread waits, so other greenlets go on.
        """
        label = what or getattr(predicate, "__name__", "the condition")
        return self._block_until(lambda: predicate(self), timeout, label)

    def wait_connections(
        self, open: int | None = None, total: int | None = None, *, timeout: float = 5.0
    ) -> None:
        """Block until exactly that many connections are open, or were ever."""
        self.wait_for(
            lambda gw: (
                open in (None, gw.connections_open) and total in (None, gw.connections_total)
            ),
            timeout,
            f"connections open={open} total={total}",
        )

    def wait_requests(self, method: str, count: int = 1, *, timeout: float = 5.0) -> list[Received]:
        """Block until ``count`` requests to ``method`` were received; all of them so far."""

        def received(gw: GatewayViews) -> list[Received]:
            found = [one for one in gw.ledger if one.method == method]
            return found if len(found) >= count else []

        return self.wait_for(received, timeout, f"{count} x {method}") if count else []

    # -- inside -----------------------------------------------------------------
    def _need(self) -> Core:
        if self._core is None:
            raise RuntimeError("the gateway is not started: use `with LocalGateway() as gateway`")
        return self._core

    def _sockets(self) -> list[Any]:
        core = self._core
        return [*core.door.sockets, *(peer.sock for peer in core.peers)] if core else []
