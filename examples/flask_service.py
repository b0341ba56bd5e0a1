"""A Flask service on one connection per worker process: questions, events for browsers, health.

    gunicorn --chdir examples --worker-class gevent flask_service:app
    gunicorn --chdir examples --worker-class gthread --threads 16 flask_service:app

``GET /healthz`` is for the load balancer, ``GET /metrics`` for Prometheus, ``GET /ask/METHOD``
calls the gateway, and ``GET /events`` is a page's EventSource: each browser has a stream of its
own and takes a greenlet or a thread as long as it looks (so no sync workers for that).
``python examples/flask_service.py --once`` asks itself each of them, and ends.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request

import gwsync

app = Flask(__name__)
gwsync.subscribe(lambda push: None)  # connects in the background; raises no dial error


@app.errorhandler(gwsync.GatewayError)
def no_gateway(error: gwsync.GatewayError) -> tuple[dict[str, Any], int]:
    return {"error": error.message, "hint": error.hint, "outcome": error.outcome}, 503


@app.get("/healthz")
def healthz() -> tuple[dict[str, Any], int]:
    """200 while this worker has the gateway, 503 otherwise; never asks it, never blocks."""
    status = gwsync.status()
    ready = status.state == "connected"
    said: dict[str, Any] = {
        "state": status.state,
        "reconnects": status.reconnects,
        "pending": status.pending,
    }
    if status.last_error is not None and not ready:
        said["error"] = status.last_error.message
    return said, 200 if ready else 503


@app.get("/ask/<method>")
def ask(method: str) -> dict[str, Any]:
    return {"answer": gwsync.request(method, dict(request.args), timeout=10)}


@app.get("/events")
def events() -> Response:
    """Server-Sent Events: every event of the gateway, or those of ``?only=chat,agent``."""
    only = [name for name in request.args.get("only", "").split(",") if name]

    def stream() -> Iterator[str]:
        with gwsync.pushes(*only) as pushes:  # ends with the browser: Flask closes the generator
            yield "retry: 2000\n\n"
            for push in pushes:
                data = push.payload if isinstance(push, gwsync.Event) else {}
                yield f"event: {push.name}\ndata: {json.dumps(data)}\n\n"

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(stream(), mimetype="text/event-stream", headers=headers)


try:
    import prometheus_client

    from gwsync.api.metrics import Collector

    prometheus_client.REGISTRY.register(Collector(gwsync.status))
except ImportError:  # pip install 'gwsync[prometheus]'
    pass
else:

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(prometheus_client.generate_latest(), mimetype="text/plain; version=0.0.4")


if __name__ == "__main__":
    if "--once" in sys.argv:
        client = app.test_client()
        print("/ask/health", client.get("/ask/health").get_json()["answer"]["ok"])
        print("/healthz", client.get("/healthz").json)
        stream = client.get("/events?only=tick", buffered=False)
        print("/events", next(stream.iter_encoded()).decode().strip())
        stream.close()
    else:
        app.run(port=8000, threaded=True)
