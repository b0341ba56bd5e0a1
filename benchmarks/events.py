"""Events to a callback: gwsync against websocket-client, from the same gateway, interleaved.

A child process floods one connection with events of the embedded gateway; the client
under test decodes each and hands its name, seq and payload to a callback. What is
compared is CPU time per event in the client's process (all threads) and events per
second. websocket-client runs as its users run it (``WebSocketApp``, json) and at its
best (``recv`` with ``skip_utf8_validation``, json).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

Measure = tuple[float, float]  # CPU microseconds an event, events a second


def serve(pipe: Any, size: int) -> None:
    """The child: a gateway that sends ``n`` events each time it is told to."""
    from gwsync.testing import LocalGateway

    payload = {"text": "x" * max(size - 60, 1)}
    with LocalGateway() as gateway:
        pipe.send((gateway.url, gateway.token))
        while (count := pipe.recv()) is not None:
            gateway.wait_connections(open=1, timeout=30)
            gateway.push_many("bench", [payload] * count)


def timed(count: int, start: Callable[[], object], done: threading.Event) -> Measure:
    cpu, wall = time.process_time(), time.perf_counter()
    start()
    if not done.wait(120):
        raise SystemExit("the events did not arrive")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / count * 1e6, count / wall


class Tally:
    """The callback's side: looks at what a user would look at, and counts."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.done = threading.Event()

    def see(self, name: str, seq: Any, payload: Any) -> None:
        if name == "bench" and payload["text"]:
            self.left -= 1
            if not self.left:
                self.done.set()


def gwsync_client(url: str, token: str, count: int, pipe: Any) -> Measure:
    import gwsync

    tally = Tally(count)
    config = gwsync.Config(url=url, token=token, state_dir=tempfile.mkdtemp())
    with gwsync.Connection(config) as connection:
        connection.connect()
        connection.subscribe(
            lambda push: tally.see(push.name, getattr(push, "seq", None), push.payload),
            "bench",
            max_queue=10_000_000,
        )
        return timed(count, lambda: pipe.send(count), tally.done)


def _connect_frame(token: str) -> str:
    params = {
        "minProtocol": 3,
        "maxProtocol": 4,
        "client": {"id": "gateway-client", "mode": "backend", "version": "0", "platform": "linux"},
        "role": "operator",
        "scopes": ["operator.read"],
        "auth": {"token": token},
    }
    return json.dumps({"type": "req", "id": "1", "method": "connect", "params": params})


def websocket_client_app(url: str, token: str, count: int, pipe: Any) -> Measure:
    import websocket

    tally = Tally(count)
    ready = threading.Event()

    def on_message(app: Any, text: str) -> None:
        frame = json.loads(text)
        if frame.get("event") == "connect.challenge":
            app.send(_connect_frame(token))
        elif frame["type"] == "res":
            ready.set()
        else:
            tally.see(frame["event"], frame.get("seq"), frame.get("payload"))

    app = websocket.WebSocketApp(url, on_message=on_message)
    thread = threading.Thread(target=lambda: app.run_forever(suppress_origin=True), daemon=True)
    thread.start()
    if not ready.wait(30):
        raise SystemExit("websocket-client did not connect")
    try:
        return timed(count, lambda: pipe.send(count), tally.done)
    finally:
        app.close()
        thread.join(10)


def websocket_client_recv(url: str, token: str, count: int, pipe: Any) -> Measure:
    import websocket

    tally = Tally(count)
    ws = websocket.create_connection(url, suppress_origin=True, skip_utf8_validation=True)
    ws.recv()
    ws.send(_connect_frame(token))
    ws.recv()

    def start() -> None:
        pipe.send(count)
        while tally.left:
            frame = json.loads(ws.recv())
            tally.see(frame["event"], frame.get("seq"), frame.get("payload"))

    try:
        return timed(count, start, tally.done)
    finally:
        ws.close()


CLIENTS = {
    "gwsync": gwsync_client,
    "websocket-client WebSocketApp": websocket_client_app,
    "websocket-client recv, skip_utf8": websocket_client_recv,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--events", type=int, default=20_000)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for size in options.sizes:
        count = max(options.events * 200 // size, 500)
        pipe, far_end = context.Pipe()
        child = context.Process(target=serve, args=(far_end, size), daemon=True)
        child.start()
        url, token = pipe.recv()
        results: dict[str, list[Measure]] = {name: [] for name in CLIENTS}
        for _ in range(options.rounds):  # interleaved: drift of the machine hits all alike
            for name, client in CLIENTS.items():
                results[name].append(client(url, token, count, pipe))
        pipe.send(None)
        child.join(10)
        print(f"\n{size} B events, {count} a run, median of {options.rounds} interleaved rounds")
        own = statistics.median(cpu for cpu, _ in results["gwsync"])
        for name, measures in results.items():
            cpu = statistics.median(cpu for cpu, _ in measures)
            rate = statistics.median(rate for _, rate in measures)
            print(f"  {name:34} {cpu:8.2f} us/event {rate:10,.0f} events/s {cpu / own:6.1f}x")


if __name__ == "__main__":
    main()
