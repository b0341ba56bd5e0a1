"""What a case of the table is: what the gateway does, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faults.hostile import Peer, Serve
from gwsync.errors import GatewayError


@dataclass(frozen=True)
class Fails:
    """connect() raises ``error``, with these attributes and these words in it."""

    error: type[GatewayError]
    has: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    # or "parks", or "three" (attempts, then it parks), or "in 1 to 60 s", "in 900 s", or
    # "waits": a gateway that is starting is waited for, until the caller's own timeout
    then: str = "retries"
    silent: bool = False  # nothing but a close frame was sent to it


@dataclass(frozen=True)
class Stays:
    """The link stays, and subscribers hear ``hear`` in this order."""

    hear: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ends:
    """The link ends with these words, and we said so with ``close``; the next one is good."""

    says: str
    close: int | None = None


@dataclass(frozen=True)
class Case:
    """``name`` begins with the row of FAULTS.md; ``where`` is the phase it bites in."""

    name: str
    where: str
    serve: Serve
    expect: Fails | Stays | Ends
    bound_s: float = 0.1
    config: dict[str, Any] = field(default_factory=dict)
    request: tuple[str, Any] | None = None  # made while the link is open; see the runner
    heavy: bool = False  # burns a core: played alone
    before_tls: bool = False  # speaks plain, whatever the URL says
    over_tls: Fails | None = None  # what is expected instead, over TLS


def good_later(serve: Callable[[Peer], Any]) -> Callable[[Peer], None]:
    """The first connection gets this, every later one a good gateway."""

    def both(peer: Peer) -> None:
        if peer.number == 0:
            serve(peer)
        else:
            peer.shake()
            peer.serve()

    return both
