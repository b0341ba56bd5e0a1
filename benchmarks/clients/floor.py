"""The physical floor: taking the bytes off the socket, and decoding them, and nothing else."""

from __future__ import annotations

import json
import socket
from typing import Any

import msgspec

from ..bodies import messages
from . import common
from .common import Job, Meter, Result


class Envelope(msgspec.Struct):
    type: str
    event: str
    payload: Any = None
    seq: Any = None


def _frame(text: str) -> bytes:
    data = text.encode()
    assert 126 <= len(data) < 65536
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data


def drain(job: Job) -> Result:
    """The bytes of the events, into one buffer, over and over."""
    sock = socket.create_connection(("127.0.0.1", job["port"]))
    sock.sendall(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    sock.sendall(_frame(common.connect_request()))
    view = memoryview(bytearray(1 << 18))
    head = b""
    while b"hello-ok" not in head:
        head += sock.recv(65536)
    # the rest of the hello is left over: it is small, and counted for a part of the events
    meter = Meter()
    for count in (job["warm"], job["count"]):
        pad = {"count": count, "pad": "x" * 126}
        meter.start()
        sock.sendall(_frame(common.request("go", "bench.send", pad)))
        head = b""
        while b'"bytes":' not in head or b"}" not in head.partition(b'"bytes":')[2]:
            head += sock.recv(65536)
        _, _, after = head.partition(b'"bytes":')
        size, _, rest = after.partition(b"}}")
        left = int(size) - len(rest)
        while left > 0:
            left -= sock.recv_into(view, min(left, len(view)))
    return meter.stop(job["count"])


def _decode(job: Job, decode: Any, read: Any) -> Result:
    texts = messages(job["size"], job["count"])
    meter = Meter()
    for part in (texts[: job["warm"]], texts):
        meter.start()
        for text in part:
            read(decode(text))
    return meter.stop(job["count"])


def decode_msgspec(job: Job) -> Result:
    def read(frame: Envelope) -> None:
        frame.payload.get("runId")

    return _decode(job, msgspec.json.Decoder(Envelope).decode, read)


def decode_orjson(job: Job) -> Result:
    import orjson

    return _decode(job, orjson.loads, _read)


def decode_json(job: Job) -> Result:
    return _decode(job, json.loads, _read)


def _read(frame: dict[str, Any]) -> None:
    frame["payload"].get("runId")


if __name__ == "__main__":
    common.main(
        {
            "drain": drain,
            "decode-msgspec": decode_msgspec,
            "decode-orjson": decode_orjson,
            "decode-json": decode_json,
        }
    )
