"""Servers to stand behind the relay, a program of their own: they send back what they hear.

    python echo_server.py careful|careless

Prints its port; runs until it is ended. The careless one checks nothing: every frame comes
back with the bits that it had. What is said of it is mostly bad, and that too has to be the
same with a relay between.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
import sys

from websockets.asyncio.server import ServerConnection, serve

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE = 0x8


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def careful() -> None:
    async with serve(echo, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


async def careless() -> None:
    server = await asyncio.start_server(mirror, "127.0.0.1", 0, limit=1 << 25)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        key = re.search(rb"(?i)\nsec-websocket-key:[ \t]*(\S+)", head)
        proof = base64.b64encode(hashlib.sha1((key[1] if key else b"") + GUID).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
        writer.write(b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % proof)
        while await _frame(reader, writer) & 0x0F != CLOSE:
            await writer.drain()
    except (OSError, EOFError):
        pass
    finally:
        writer.close()


async def _frame(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """One frame comes and goes; its first byte."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    head = bytes([first, size])
    if size > 125:
        wide = await reader.readexactly(2 if size == 126 else 8)
        head += wide
        size = int.from_bytes(wide, "big")
    key = await reader.readexactly(4) if second & 0x80 else bytes(4)
    data = await reader.readexactly(size)
    mask = (key * (size // 4 + 1))[:size]
    plain = int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")
    writer.write(head + plain.to_bytes(size, "big"))
    return first


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # it is told a thousand wrong things
    asyncio.run({"careful": careful, "careless": careless}[sys.argv[1]]())
