"""A WSGI service on one shared connection: GET /health and GET /events.

Serve ``application`` with any WSGI server: each process of it (gunicorn's workers, also
with preload) makes one connection of its own, at its first use. Or try it right here:

    python examples/wsgi_service.py           serves on a free port until Ctrl-C
    python examples/wsgi_service.py --once    asks itself both questions, and ends

Set GWSYNC_URL and GWSYNC_TOKEN.
"""

import json
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import gwsync
from gwsync.api.display import describe

recent: deque[str] = deque(maxlen=100)


@gwsync.on()  # returns at once, connects in the background, and raises no dial error
def remember(push: gwsync.Event) -> None:
    recent.append(describe(push))


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    try:
        status, answer = route(environ["PATH_INFO"])
    except gwsync.GatewayError as error:  # one sentence, and what to do about it
        status, answer = "503 Service Unavailable", {"error": error.message, "hint": error.hint}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


def route(path: str) -> tuple[str, dict[str, Any]]:
    if path == "/health":
        return "200 OK", {"ok": gwsync.request("health", timeout=5)["ok"]}
    if path == "/events":
        return "200 OK", {"state": gwsync.status().state, "events": list(recent)}
    return "404 Not Found", {"error": f"there is no {path}"}


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        print("serving", url)
        if "--once" in sys.argv:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            for path in ("/health", "/events"):
                print(path, urlopen(url + path).read().decode())
            server.shutdown()
        else:
            server.serve_forever()
