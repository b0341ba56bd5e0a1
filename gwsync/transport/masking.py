"""Frames as they leave (RFC 6455 sections 5.2 and 5.3): a head, a key, the payload under it.

A client masks every frame, under a key that nobody can foresee. gwsync's own extension does
it where that was built. Else Python's long integers do well enough up to a few kilobytes. For
more there is another extension in C if one is installed (``gwsync[speed]`` brings one), or numpy
if the program uses it anyway. Importing one takes milliseconds, so that waits until there was
much to mask.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache

from .. import limits, switches
from ..runtime.hub import after_fork_in_child

Mask = Callable[[bytes, bytes], bytes]
_keys: Iterator[tuple[bytes]] = iter(())


def new_key() -> bytes:
    """Four random bytes, never all zero: that would be no mask."""
    global _keys
    while True:
        for (key,) in _keys:
            if key != b"\0\0\0\0":
                return key
        # A system call for many: one each would cost more than the rest of a small frame.
        _keys = struct.iter_unpack("4s", os.urandom(limits.MASK_KEYS_BYTES))


def _forked() -> None:
    global _keys
    _keys = iter(())  # the parent's


after_fork_in_child(_forked)


def mask_by_int(payload: bytes, key: bytes) -> bytes:
    """``payload`` under ``key``, by two long integers."""
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(keys, "little")
    return masked.to_bytes(size, "little")


def mask_by_numpy(payload: bytes, key: bytes) -> bytes:
    """The same, four bytes at a time."""
    import numpy  # type: ignore[import-not-found,unused-ignore]

    whole = len(payload) // 4 * 4
    view = memoryview(payload)
    words = numpy.frombuffer(view[:whole], numpy.uint32)
    masked: bytes = (words ^ numpy.frombuffer(key, numpy.uint32)).tobytes()
    return masked + mask_by_int(bytes(view[whole:]), key)


def _from_websockets() -> Mask | None:
    from websockets.speedups import apply_mask

    return apply_mask


def _from_wsaccel() -> Mask | None:
    from wsaccel.xormask import XorMaskerSimple  # type: ignore[import-not-found,unused-ignore]

    return lambda payload, key: bytes(XorMaskerSimple(key).process(payload))


def _from_numpy() -> Mask | None:
    return mask_by_numpy if "numpy" in sys.modules else None


_SOURCES: tuple[Callable[[], Mask | None], ...] = (_from_websockets, _from_wsaccel, _from_numpy)
_SAMPLE, _KEY = bytes(range(7)), b"\x01\x80\xff\x10"


@lru_cache(maxsize=1)
def fastest() -> Mask:
    """The best there is here. One that is broken is no reason to fail: its result is looked at."""
    for source in _SOURCES:
        try:
            mask = source()
            if mask is not None and mask(_SAMPLE, _KEY) == mask_by_int(_SAMPLE, _KEY):
                return mask
        except Exception:  # noqa: S112 - not installed, or not for this Python
            continue
    return mask_by_int


def frame(first: int, key: bytes, payload: bytes, mask: Mask = mask_by_int) -> bytes:
    """One whole frame; ``first`` is its first byte."""
    size, masked = len(payload), mask(payload, key)
    if size < 126:
        return b"%c%c%b%b" % (first, 0x80 | size, key, masked)
    if size < 0x10000:
        return b"%c\xfe%b%b%b" % (first, size.to_bytes(2, "big"), key, masked)
    return b"%c\xff%b%b%b" % (first, size.to_bytes(8, "big"), key, masked)


class Framer:
    """Makes the frames of one link."""

    def __init__(self, *, slow: bool = False) -> None:
        self._slow = slow
        self._large_bytes = 0
        self._compiled: Callable[[int, bytes, bytes], bytes] | None = (
            None if slow else switches.compiled("frame")
        )

    def frame(self, payload: bytes, opcode: int) -> bytes:
        """One whole frame."""
        if self._compiled is not None:
            return self._compiled(0x80 | opcode, new_key(), payload)
        size = len(payload)
        mask = mask_by_int if size < limits.LARGE_FRAME_BYTES else self._large(size)
        return frame(0x80 | opcode, new_key(), payload, mask)

    def _large(self, size: int) -> Mask:
        """The mask for a large frame."""
        self._large_bytes += size
        if self._slow or self._large_bytes < limits.MASK_IMPORT_BYTES:
            return mask_by_int
        return fastest()
