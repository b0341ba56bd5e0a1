"""What a FaultProxy does to one direction, and what it saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

DIRECTIONS = ("up", "down")
ENDS = ("rst", "fin")


@dataclass
class Faults:
    """The faults of one direction, for every connection; each flow keeps its own count.

    Offsets are bytes from where a flow was when the fault was set, or from its beginning.
    """

    delay: float = 0.0  # seconds
    rate: float | None = None  # bytes per second
    split: int | None = None  # bytes per segment
    stopped: bool = False
    tamper: Callable[[bytes], bytes] | None = None
    flips: dict[int, int] = field(default_factory=dict)  # offset: what it is xored with
    freeze_after: int | None = None
    freeze_once: bool = False
    cut_after: int | None = None
    cut_how: str = "rst"
    cut_once: bool = False

    def heal(self) -> None:
        """None of them any more."""
        for item in fields(self):
            setattr(self, item.name, getattr(_NONE, item.name))
        self.flips = {}


_NONE = Faults()


class Recording:
    """The bytes that came to a FaultProxy, per direction, before any fault touched them.

    ``connections`` has a pair of bytearrays per connection, what the client sent and what
    the gateway sent, in the order in which the connections were made. They grow meanwhile.
    """

    def __init__(self) -> None:
        self.connections: list[tuple[bytearray, bytearray]] = []

    @property
    def up(self) -> bytes:
        """What clients sent, one connection after another."""
        return b"".join(bytes(up) for up, _ in self.connections)

    @property
    def down(self) -> bytes:
        """What the gateway sent, one connection after another."""
        return b"".join(bytes(down) for _, down in self.connections)

    def __repr__(self) -> str:
        sizes = f"{len(self.up)} bytes up, {len(self.down)} down"
        return f"<Recording of {len(self.connections)} connections: {sizes}>"


def directions(name: str) -> tuple[str, ...]:
    """``both`` or one of them. Raises ValueError."""
    if name == "both":
        return DIRECTIONS
    if name not in DIRECTIONS:
        raise ValueError(f"direction must be 'up', 'down' or 'both', not {name!r}")
    return (name,)


def whole(name: str, value: Any, least: int = 0) -> int:
    """``value`` if it is a whole number of at least that. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, not {value!r}")
    return int(value)
