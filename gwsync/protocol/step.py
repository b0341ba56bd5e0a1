"""What a conversation tells its driver to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import GatewayError
from ..values import Push
from .handshake import Accepted
from .pending import Call


@dataclass
class Step:
    """What to do now: bytes to send, pushes to deliver, and whether the link must end."""

    send: list[bytes] = field(default_factory=list, repr=False)  # `connect` holds the token
    pushes: list[Push] = field(default_factory=list)
    size: int | None = None  # bytes of the frames these came in; None: not all of them are small
    refused: list[Call] = field(default_factory=list)  # busy gateway: to be sent again later
    subscribed: list[Call] = field(default_factory=list)  # answered well, and in SUBSCRIBES
    ping: bool = False  # send a WebSocket ping
    accepted: Accepted | None = None
    error: GatewayError | None = None  # set: end the link, with `close_code`
    close_code: int = 1000
