"""picows with orjson: a websocket in C and a decoder in Rust, on asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import picows

from . import common
from .common import Events, Job, Result


class Listener(picows.WSListener):  # type: ignore[misc]
    def __init__(self, job: Job, over: asyncio.Event) -> None:
        self._job, self._over = job, over
        self.phases = Events(job, lambda text: None)

    def on_ws_connected(self, transport: Any) -> None:
        self.phases = Events(
            self._job, lambda text: transport.send(picows.WSMsgType.TEXT, text.encode())
        )
        self._callback = self.phases.callback

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        message = orjson.loads(frame.get_payload_as_memoryview())
        if message["type"] == "event" and message["event"] != "connect.challenge":
            self._callback(message["event"], message.get("seq"), message.get("payload"))
            if self.phases.over:
                self._over.set()
        else:
            self.phases.control(message)


async def _events(job: Job) -> Result:
    over = asyncio.Event()
    _, listener = await picows.ws_connect(
        lambda: Listener(job, over), f"ws://127.0.0.1:{job['port']}"
    )
    await over.wait()
    result: Result = listener.phases.result
    return result


def events(job: Job) -> Result:
    return asyncio.run(_events(job))


if __name__ == "__main__":
    common.main(dict.fromkeys(("flood", "untouched", "paced"), events))
