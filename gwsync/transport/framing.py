"""WebSocket frames as they arrive (RFC 6455 section 5): bytes in, messages out. No I/O.

websocket-client's reader has no size limit and takes several recv calls a frame, so
reading is ours. Whole text frames, which is what a gateway sends, are sliced out of
what arrived; everything else takes the longer way. A frame is judged by its head, and
text as it comes in: what breaks the rules is known before the rest of it is here.
"""

from __future__ import annotations

import time
from codecs import utf_8_decode
from collections import deque
from collections.abc import Callable
from struct import Struct

from websocket import ABNF, WebSocketProtocolException

from .. import limits, switches
from ..errors import ConnectionLost, GatewayError, ProtocolError
from ..values import Binary

_CONTINUATION, _TEXT, _CONTROL = ABNF.OPCODE_CONT, ABNF.OPCODE_TEXT, 8
_WHOLE_PING, _WHOLE_PONG = 0x80 | ABNF.OPCODE_PING, 0x80 | ABNF.OPCODE_PONG
_four_bytes = Struct("!HH").unpack_from
CutTexts = Callable[[bytes, int, int, list[bytes]], int]


def cut_texts(data: bytes, position: int, most: int, messages: list[bytes]) -> int:
    """Cut whole text frames out, as long as nothing else comes; where that begins.

    This is what a gateway sends. Frames of over ``most`` bytes, and text that is not
    UTF-8, are something else. A frame has no function of its own in here: each would
    cost a quarter of what taking the frame apart does.
    """
    end, add = len(data), messages.append
    heads_end = end - 3
    while position < heads_end:
        head, size = _four_bytes(data, position)
        if head == 0x817E and size > 125:  # a length of 16 bits
            start = position + 4
        elif 0x8100 <= head < 0x817E:
            size = head & 0x7F
            start = position + 2
        elif head == 0x817F:  # of 64 bits
            start = position + 10
            size = int.from_bytes(data[position + 2 : start], "big")
            if size <= 65535:
                break
        else:
            break
        stop = start + size
        if stop > end or size > most:
            break
        message = data[start:stop]
        if not (message.isascii() or _is_utf8(message)):
            break
        add(message)
        position = stop
    return position


def _is_utf8(text: bytes) -> bool:
    try:
        utf_8_decode(text, "strict", True)
    except UnicodeDecodeError:
        return False
    return True


class Scanner:
    """Reads one side of one link; :meth:`feed` it all that arrives, in any pieces.

    What it found out stays here for the link to act upon: ``pings`` to be answered,
    and the ``error`` that ended it, with the body of the close frame to ``answer``.
    """

    def __init__(self, max_message: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_message = max_message
        # RFC 6455 section 5.5.3: only the latest ping must be answered. For a peer that
        # sends pings and reads no answers, this is the queue that does not grow.
        self.pings: deque[bytes] = deque(maxlen=limits.MAX_PONGS)
        self.error: GatewayError | None = None
        self.answer = b""
        self.taken = 0  # frames that the last feed brought
        self._rest = b""  # the beginning of a head or of a control frame
        self._message = _Pieces()  # as much as there is of one that is not whole
        self._missing = 0  # bytes of its present frame that are still to come
        self._frames = 0  # that it has so far; none between messages
        self._is_text = self._is_last = False
        self._cut = b""  # the beginning of a character
        self._flood = _FloodGuard(clock)
        self._fast = not switches.slow("scan")
        self._cut_texts: CutTexts = switches.compiled("cut_texts") or cut_texts

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes; text as bytes, checked UTF-8.

        When ``error`` is set afterwards, they came before it; what follows is not read.
        """
        messages: list[bytes] = []
        self.taken = 0
        if self.error is None:
            try:
                self._scan(self._rest + data if self._rest else data, messages)
            except GatewayError as error:
                self.error = error
        return messages

    def _scan(self, data: bytes, messages: list[bytes]) -> None:
        position, end = 0, len(data)
        if self._missing:
            position = self._take(data, 0, messages)
        while end - position >= 2:
            if self._fast and not self._frames:
                before = len(messages)
                position = self._cut_texts(data, position, self.max_message, messages)
                self.taken += len(messages) - before
                position = self._pass_pings(data, position)
                if end - position < 2:
                    break
            head, size, start = data[position], data[position + 1], position + 2
            self._check_head(head, size)
            if size > 125:
                start += 2 if size == 126 else 8
                if start > end:
                    break
                size = int.from_bytes(data[position + 2 : start], "big")
                if size <= (125 if start == position + 4 else 65535):
                    raise self._broken("a length that is longer than need be")
                if size >> 63:
                    raise self._broken("an impossible length")
            self.taken += 1
            if head & _CONTROL:
                if start + size > end:
                    break
                position = start + size
                self._control(head & 15, data[start:position])
            else:
                self._begin(head, size)
                position = self._take(data, start, messages)
        self._rest = data[position:]

    def _pass_pings(self, data: bytes, position: int) -> int:
        """The same for pings and pongs, of which a hostile peer can send 30,000 in 64 KiB."""
        began, end, count = position, len(data), 0
        pings = self.pings
        while end - position >= 2:
            head, size = data[position], data[position + 1]
            stop = position + 2 + size
            if size > limits.CONTROL_FRAME_BYTES or stop > end:
                break
            if head == _WHOLE_PING:
                pings.append(data[position + 2 : stop])
            elif head != _WHOLE_PONG:
                break
            count += 1
            position = stop
        self.taken += count
        if position != began and self._flood.counts(count):
            raise self._broken("a flood of control frames", 1008)
        return position

    def _check_head(self, head: int, size: int) -> None:
        """What the first two bytes give away; ``size`` may stand for a longer one."""
        if size > 127:
            raise self._broken("a masked frame")
        if head & 0x70:
            raise self._broken("a frame with reserved bits")
        if head & 7 > 2:
            raise self._broken(f"a frame of unknown kind {head & 15}")
        if head & _CONTROL and (head < 0x80 or size > limits.CONTROL_FRAME_BYTES):
            raise self._broken("a control frame of illegal form")

    # -- messages that are in fragments, binary, or not here as a whole -------------
    def _begin(self, head: int, size: int) -> None:
        """The head of a data frame, of which any part may have arrived."""
        opcode = head & 15
        if (opcode == _CONTINUATION) != bool(self._frames):
            raise self._broken("a fragment out of place")
        if opcode != _CONTINUATION:
            self._is_text = opcode == _TEXT
        self._frames += 1
        total = self._message.size + size
        if total > self.max_message:
            raise self._broken(f"a message of {total} bytes", 1009)
        if self._frames > limits.MAX_FRAGMENTS:
            raise self._broken(f"a message of over {limits.MAX_FRAGMENTS} fragments", 1009)
        self._is_last, self._missing = head >= 0x80, size

    def _take(self, data: bytes, position: int, messages: list[bytes]) -> int:
        """Add what there is of the present frame; where it ends in ``data``."""
        piece = data[position : position + self._missing]  # is `data` itself, if it is all of it
        self._missing -= len(piece)
        whole = self._is_last and not self._missing
        if self._is_text:
            self._check_text(piece, whole)
        self._message.add(piece)
        if whole:
            message = self._message.joined()
            messages.append(message if self._is_text else Binary(message))
            self._message, self._frames = _Pieces(), 0
        return position + len(piece)

    def _check_text(self, piece: bytes, final: bool) -> None:
        if self._cut:
            piece = self._cut + piece
        elif piece.isascii():
            return
        try:
            used = utf_8_decode(piece, "strict", final)[1]
        except UnicodeDecodeError:
            raise self._broken("text that is not UTF-8", 1007) from None
        self._cut = piece[used:]

    # -- control frames ------------------------------------------------------------------
    def _control(self, opcode: int, payload: bytes) -> None:
        if self._flood.counts():
            raise self._broken("a flood of control frames", 1008)
        if opcode == ABNF.OPCODE_PING:
            self.pings.append(payload)
        elif opcode == ABNF.OPCODE_CLOSE:
            raise self._closed(payload)

    def _closed(self, payload: bytes) -> GatewayError:
        try:
            ABNF(1, opcode=ABNF.OPCODE_CLOSE, mask_value=0, data=payload).validate(True)
            reason = payload[2:].decode()
        except (WebSocketProtocolException, UnicodeDecodeError):
            return self._broken("a close frame of illegal form")
        self.answer = payload[:2]
        code = int.from_bytes(self.answer, "big") if payload else 1005
        shown = f" ({repr(reason)[1:-1]})" if reason else ""
        return ConnectionLost(
            f"the gateway closed the link with code {code}{shown}", close_code=code, reason=reason
        )

    def _broken(self, what: str, code: int = 1002) -> ProtocolError:
        self.answer = code.to_bytes(2, "big")
        return ProtocolError(f"the gateway sent {what} (closed with {code})")


class _Pieces:
    """A message under way, of which nothing is copied twice, and small pieces are not kept apart.

    A bytearray that grows would be copied as it grows and once more at its end; one of
    the announced size would believe a length that may be a lie.
    """

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        pieces = self._pieces
        if len(piece) >= limits.KEPT_PIECE_BYTES or not pieces:
            pieces.append(piece)
        elif isinstance(last := pieces[-1], bytearray):
            last += piece
        else:
            pieces.append(bytearray(piece))

    def joined(self) -> bytes:
        pieces = self._pieces
        if len(pieces) == 1 and isinstance(only := pieces[0], bytes):
            return only
        return b"".join(pieces)


class _FloodGuard:
    """Too many control frames in each of several seconds on end, as none that is sound sends.

    Not in one alone: all that came while this process was stopped is read in one go.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._count = 0
        self._seconds = 0

    def counts(self, more: int = 1) -> bool:
        """Count that many; whether they are too many."""
        passed = self._clock() - self._began
        if passed >= 1:
            too_many = self._count > limits.CONTROL_FRAMES_PER_S * passed
            self._seconds = self._seconds + 1 if too_many else 0
            self._began += passed
            self._count = 0
        self._count += more
        return self._seconds >= limits.CONTROL_FLOOD_S
