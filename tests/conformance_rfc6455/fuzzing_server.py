"""The other side, a program of its own: kosoku's fuzzing server, also behind TLS.

    python fuzzing_server.py PEM CASE...

Prints the port for ws:// and the one for wss://; once the client under test has asked
for its report, that report, as JSON. A program of its own, since its code is not held
to warnings as errors, and since it must not share a thread with who it judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys

from kosoku import FailureError, run_fuzzingserver

FIELDS = ("case_id", "passed", "duration", "description", "expectation", "result", "result_close")


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 18):
        writer.write(data)
        await writer.drain()


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream_port: int
) -> None:
    """Both ways until one side ends; what it said last still arrives."""
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", upstream_port)
    ways = [
        asyncio.create_task(copy(reader, far_writer)),
        asyncio.create_task(copy(far_reader, writer)),
    ]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    for end in (far_writer, writer):
        end.close()
        with contextlib.suppress(OSError):
            await end.wait_closed()


async def main(pem: str, cases: list[str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with run_fuzzingserver(cases, host="127.0.0.1", port=0) as server:
        secure = await asyncio.start_server(
            lambda reader, writer: relay(reader, writer, server.port),
            "127.0.0.1",
            0,
            ssl=context,
        )
        print(server.port, secure.sockets[0].getsockname()[1], flush=True)
        try:
            results = await server.get_result()
        except FailureError as failure:
            results = failure.results
        secure.close()
    print(
        json.dumps(
            [
                {
                    **{field: getattr(result, field) for field in FIELDS},
                    "behavior": result.behavior.value,
                    "behavior_close": result.behavior_close.value,
                }
                for result in results
            ]
        ),
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
