"""Deciding on each ``connect``: admission's rules, the phase, the test's holds, the record."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .admission import Admitted, admit
from .options import Phase
from .records import ConnectRefusal, Handshake
from .state import now_ms

if TYPE_CHECKING:
    from .core import Core
    from .peer import Peer

AUTH_DELAYS_S = (0.25, 0.5, 1.0, 2.0, 4.0, 5.0)  # on loopback, doubling per failure


class Reception:
    """Answers every ``connect``; lives on the hub thread."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.handshakes: list[Handshake] = []
        self._failures = 0

    def connect(self, peer: Peer, request_id: str, params: Any) -> None:
        """Decide on a ``connect``; the test may hold it."""
        if not self.core.holds.park_before(
            "connect", lambda: self._decide(peer, request_id, params)
        ):
            self._decide(peer, request_id, params)
        self.core.changed()

    def _decide(self, peer: Peer, request_id: str, params: Any) -> None:
        if not peer.talking:
            return  # it left while it was held
        core = self.core
        try:
            if core.phase is Phase.STARTING:
                raise _starting()
            admitted = admit(
                params,
                rules=core.rules,
                devices=core.devices,
                nonce=peer.nonce,
                now_ms=now_ms(),
                origin=peer.header("Origin"),
                scope_cap=_scope_cap(peer.header("x-openclaw-scopes")),
            )
        except ConnectRefusal as refusal:
            code = (refusal.details or {}).get("code") or refusal.code
            self._record(peer, params, code, ())
            core.later(self._delay(refusal), peer.refuse_connect, request_id, refusal)
            return
        self._record(peer, params, "", admitted.scopes)
        peer.welcome(request_id, admitted, core.joined(peer, admitted, params["client"]))
        if announced(admitted):
            core.push_presence()
        core.changed()

    def _delay(self, refusal: ConnectRefusal) -> float:
        if not (refusal.credentials and self.core.options.auth_delay):
            return 0.0
        self._failures += 1
        return AUTH_DELAYS_S[min(self._failures, len(AUTH_DELAYS_S)) - 1]

    def _record(self, peer: Peer, params: Any, code: str, scopes: tuple[str, ...]) -> None:
        device = params.get("device") if isinstance(params, dict) else None
        self.handshakes.append(
            Handshake(
                conn_id=peer.id,
                boot_id=self.core.boot.id,
                params=params,
                code=code,
                scopes=scopes,
                device_id=device.get("id") if isinstance(device, dict) else None,
                origin=peer.header("Origin"),
                at=time.monotonic(),
            )
        )


def announced(admitted: Admitted) -> bool:
    """Whether its coming and going makes a presence event: not so for cli, backends, probes."""
    return (admitted.client_id, admitted.mode) == ("test", "test") or admitted.mode == "ui"


def _starting() -> ConnectRefusal:
    return ConnectRefusal(
        "UNAVAILABLE",
        "gateway starting; retry shortly",
        details={"reason": "startup-sidecars"},
        retryable=True,
        retry_after_ms=500,
        close_code=1013,
        close_reason="gateway starting",
    )


def _scope_cap(header: str | None) -> tuple[str, ...] | None:
    if header is None:
        return None
    return tuple(part.strip() for part in header.split(",") if part.strip())
