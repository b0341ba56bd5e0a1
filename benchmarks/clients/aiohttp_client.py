"""aiohttp's websocket client with json."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from . import common
from .common import Events, Job, Result


async def _events(job: Job) -> Result:
    session = aiohttp.ClientSession()  # not closed: that is not measured, and waits
    ws = await session.ws_connect(f"ws://127.0.0.1:{job['port']}", max_msg_size=0)
    outbox: list[str] = []
    phases = Events(job, outbox.append)
    callback = phases.callback
    async for message in ws:
        frame = json.loads(message.data)
        if frame["type"] == "event" and frame["event"] != "connect.challenge":
            callback(frame["event"], frame.get("seq"), frame.get("payload"))
        else:
            phases.control(frame)
        if outbox:
            await ws.send_str(outbox.pop())
        if phases.over:
            break
    return phases.result


def events(job: Job) -> Result:
    return asyncio.run(_events(job))


if __name__ == "__main__":
    common.main(dict.fromkeys(("flood", "untouched", "paced"), events))
