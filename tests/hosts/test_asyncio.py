"""asyncio: calls on threads of its executor, and blocking ones in a coroutine."""

from __future__ import annotations

from hosts.support import clean
from loopback.support import Bench


def test_asyncio_to_thread(bench: Bench) -> None:
    source = """
import asyncio, gwsync
async def main():
    ticks = 0
    async def ticker():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1
    task = asyncio.create_task(ticker())
    answers = await asyncio.gather(
        *(asyncio.to_thread(gwsync.request, "echo", {"n": n}) for n in range(20))
    )
    print([answer["n"] for answer in answers] == list(range(20)))
    try:
        await asyncio.to_thread(gwsync.request, "held", timeout=0.3)
    except gwsync.RequestTimeout:
        print(ticks > 10)
    print(gwsync.request("health")["ok"])  # blocking, in a coroutine, as in a notebook's cell
    task.cancel()
asyncio.run(main())
print(gwsync.status().sockets_opened)
"""
    bench.gateway.hold("held")
    assert clean(bench, source) == ["True", "True", "True", "1"]
