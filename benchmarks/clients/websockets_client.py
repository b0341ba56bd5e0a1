"""websockets with json: its threading client and its asyncio client."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import threading
import time
from _thread import allocate_lock
from typing import Any

from websockets.asyncio.client import connect as asyncio_connect
from websockets.sync.client import connect as sync_connect

from . import common
from .common import Events, Job, Result

OPTIONS: dict[str, Any] = {"compression": None, "proxy": None, "max_size": None}


def events(job: Job) -> Result:
    return asyncio.run(_asyncio(job)) if job.get("asyncio") else _sync(job)


def _sync(job: Job) -> Result:
    ws = sync_connect(f"ws://127.0.0.1:{job['port']}", **OPTIONS)
    phases = Events(job, ws.send)
    callback = phases.callback
    while not phases.over:
        frame = json.loads(ws.recv())
        if frame["type"] == "event" and frame["event"] != "connect.challenge":
            callback(frame["event"], frame.get("seq"), frame.get("payload"))
        else:
            phases.control(frame)
    return phases.result


async def _asyncio(job: Job) -> Result:
    ws = await asyncio_connect(f"ws://127.0.0.1:{job['port']}", **OPTIONS)
    outbox: list[str] = []
    phases = Events(job, outbox.append)
    callback = phases.callback
    async for text in ws:
        frame = json.loads(text)
        if frame["type"] == "event" and frame["event"] != "connect.challenge":
            callback(frame["event"], frame.get("seq"), frame.get("payload"))
        else:
            phases.control(frame)
        if outbox:
            await ws.send(outbox.pop())
        if phases.over:
            break
    return phases.result


class Shared:
    """One connection for many threads: a reader that gives each answer to who waits for it."""

    def __init__(self, job: Job) -> None:
        self._ws = sync_connect(f"ws://127.0.0.1:{job['port']}", **OPTIONS)
        self._ws.recv()
        self._ws.send(common.connect_request())
        self._ws.recv()
        self._ids = itertools.count()
        self._waiting: dict[str, list[Any]] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for text in self._ws:
            frame = json.loads(text)
            if frame["type"] == "res":
                slot = self._waiting.pop(frame["id"])
                slot[1] = frame["payload"]
                slot[0].release()

    def call(self, method: str, params: Any) -> Any:
        id = str(next(self._ids))
        lock = allocate_lock()
        lock.acquire()
        slot = self._waiting[id] = [lock, None]
        self._ws.send(common.request(id, method, params))
        lock.acquire()
        return slot[1]


def shared(job: Job) -> Result:
    return common.threads(job, Shared(job).call)


def calls(job: Job) -> Result:
    """The caller sends and reads by itself: no demultiplexing."""
    ws = sync_connect(f"ws://127.0.0.1:{job['port']}", **OPTIONS)
    ws.recv()
    ws.send(common.connect_request())
    ws.recv()
    ids = itertools.count()

    def call(method: str, params: Any) -> Any:
        id = str(next(ids))
        ws.send(common.request(id, method, params))
        while True:
            frame = json.loads(ws.recv())
            if frame["type"] == "res" and frame["id"] == id:
                return frame["payload"]

    return common.sequential(job, call)


async def _idle(job: Job) -> Result:
    kept: list[Any] = []
    sizes, took = [], 0.0
    limit = asyncio.Semaphore(16)

    async def dial() -> None:
        async with limit:
            ws = await asyncio_connect(f"ws://127.0.0.1:{job['port']}", **OPTIONS)
            await ws.recv()
            await ws.send(common.connect_request())
            kept.append((ws, await ws.recv()))  # the hello as well, as gwsync does

    for target in (common.FIRST, 1000, job["connections"]):
        began = time.perf_counter()
        await asyncio.gather(*(dial() for _ in range(target - len(kept))))
        took = time.perf_counter() - began
        gc.collect()
        sizes.append(common.rss_kb())
    return common.slopes(sizes, job["connections"], took)


def idle(job: Job) -> Result:
    return asyncio.run(_idle(job))


KINDS = {
    "idle": idle,
    **dict.fromkeys(("flood", "untouched", "paced"), events),
    "sequential": calls,
    "threads": shared,
}

if __name__ == "__main__":
    common.main(KINDS)
