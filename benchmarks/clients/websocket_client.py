"""websocket-client with json: ``WebSocketApp`` as it is, and ``recv`` at its best."""

from __future__ import annotations

import itertools
import json
from typing import Any

import websocket

from . import common
from .common import Events, Job, Result


def events(job: Job) -> Result:
    return _app(job) if job.get("default") else _recv(job)


def _app(job: Job) -> Result:
    def on_message(app: Any, text: str) -> None:
        frame = json.loads(text)
        if frame["type"] == "event" and frame["event"] != "connect.challenge":
            callback(frame["event"], frame.get("seq"), frame.get("payload"))
            if phases.over:
                app.keep_running = False
        else:
            phases.control(frame)

    app = websocket.WebSocketApp(f"ws://127.0.0.1:{job['port']}", on_message=on_message)
    phases = Events(job, app.send)
    callback = phases.callback
    app.run_forever(suppress_origin=True)
    return phases.result


def _recv(job: Job) -> Result:
    ws = _open(job)
    phases = Events(job, ws.send)
    callback = phases.callback
    while not phases.over:
        frame = json.loads(ws.recv())
        if frame["type"] == "event" and frame["event"] != "connect.challenge":
            callback(frame["event"], frame.get("seq"), frame.get("payload"))
        else:
            phases.control(frame)
    return phases.result


def _open(job: Job) -> Any:
    return websocket.create_connection(
        f"ws://127.0.0.1:{job['port']}", suppress_origin=True, skip_utf8_validation=True
    )


def calls(job: Job) -> Result:
    """The caller sends and reads by itself: no thread, no demultiplexing."""
    ws = _open(job)
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


if __name__ == "__main__":
    common.main({**dict.fromkeys(("flood", "untouched", "paced"), events), "sequential": calls})
