"""Bodies as they stream by: where one ends, and how it is put for the next hop; no I/O.

Each decoder takes what was read and gives the payload in it at once, never more than it
was given. What follows the body's end is left in ``rest``. Chunks are read strictly and
written anew, so that no two readers can differ about them.

Source: RFC 9112 sections 6 and 7.
"""

from __future__ import annotations

import re
from typing import Protocol

from .. import limits
from . import heads
from .heads import BadHead

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class Decoder(Protocol):
    done: bool
    rest: bytes

    def feed(self, data: bytes) -> bytes:
        """The payload in ``data``. Raises BadHead."""

    def eof(self) -> bool:
        """The stream has ended: whether the body was whole by then."""


class Sized:
    """So many bytes."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.done = size == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        if len(data) > self._left:
            data, self.rest = data[: self._left], data[self._left :]
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def eof(self) -> bool:
        return self.done


class Endless:
    """Until the connection ends."""

    done = False
    rest = b""

    def feed(self, data: bytes) -> bytes:
        return data

    def eof(self) -> bool:
        self.done = True
        return True


class Chunked:
    """Chunks, until the empty one; what is said beside the payload is checked and dropped."""

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self._buffer = b""  # of a line under way
        self._left = 0  # of the chunk's payload
        self._step = "size"

    def feed(self, data: bytes) -> bytes:
        payload: list[bytes] = []
        data = self._buffer + data
        self._buffer = b""
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._step == "data":
                piece = data[at : at + self._left]
                payload.append(piece)
                self._left -= len(piece)
                at += len(piece)
                if not self._left:
                    self._step = "end"
                continue
            line = self._line(data, at)
            if line is None:
                self._buffer = data[at:]
                return b"".join(payload)
            at += len(line)
            self._took(line[:-2])
        if self.done:
            self.rest = data[at:]
        return b"".join(payload)

    def _line(self, data: bytes, at: int) -> bytes | None:
        """With its CR LF; None while it is not whole."""
        end = data.find(b"\n", at)
        size = (end + 1 if end >= 0 else len(data)) - at
        if size > limits.RELAY_CHUNK_LINE_BYTES:
            raise BadHead("a line of the chunks is too long")
        if end < 0:
            return None
        line = data[at : end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise BadHead("a line of the chunks does not end in CR LF")
        return line

    def _took(self, line: bytes) -> None:
        if self._step == "size":
            found = _SIZE.fullmatch(line)
            if found is None:
                raise BadHead("the size of a chunk cannot be read")
            self._left = int(found[1], 16)
            self._step = "data" if self._left else "trailers"
            self._trailers = 0
        elif self._step == "end":
            if line:
                raise BadHead("a chunk is longer than it said")
            self._step = "size"
        elif line:
            self._trailers += 1
            if self._trailers > limits.RELAY_HEADERS:
                raise BadHead("there are too many trailers")
            heads.trailers(line)
        else:
            self.done = True

    def eof(self) -> bool:
        return self.done


def of_request(request: heads.Request) -> Decoder:
    """What reads the body of this request."""
    return Chunked() if request.chunked else Sized(request.length or 0)


def of_response(response: heads.Response, method: bytes) -> Decoder:
    """What reads the body of this answer to a request of that method."""
    if method == b"HEAD" or response.status in (204, 304) or response.status < 200:
        return Sized(0)
    if response.chunked:
        return Chunked()
    return Endless() if response.length is None else Sized(response.length)


def chunk(data: bytes) -> bytes:
    """``data`` as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
