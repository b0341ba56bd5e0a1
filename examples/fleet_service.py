"""A service of many worker processes, perhaps on many machines, behind one gateway connection.

Everything below needs the fleet's secret, 16 characters or more, in GWSYNC_FLEET_SECRET, and
``pip install 'gwsync[redis]'``. One owner, or two, has the gateway's token:

    gwsync owner --fleet prod --redis redis://127.0.0.1:6379/0 \\
        --url wss://box.tailnet.ts.net --token-file /etc/gateway-token

The workers have none. They are told where the fleet meets by the environment:

    GWSYNC_URL=redis://127.0.0.1:6379/0 GWSYNC_FLEET=prod \\
        gunicorn --chdir examples --workers 8 --worker-class gthread --threads 8 fleet_service:app

``POST /ask`` has the agent begin, and answers at once with the run's id; ``GET /runs/ID`` gives
its words as they come, from whichever worker is asked; ``GET /healthz`` is for the load balancer.
The same program works on a connection of its own: GWSYNC_URL=wss://... and GWSYNC_TOKEN.
``python examples/fleet_service.py --once`` asks itself each of them, and ends.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request

import gwsync

app = Flask(__name__)
gwsync.subscribe(lambda push: None)  # connects in the background; raises no dial error


@app.errorhandler(gwsync.GatewayError)
def no_answer(error: gwsync.GatewayError) -> tuple[dict[str, Any], int]:
    """Which of owner, Redis and gateway is missing, and what to do about it."""
    return {"error": error.message, "hint": error.hint, "outcome": error.outcome}, 503


@app.post("/ask")
def ask() -> tuple[dict[str, Any], int]:
    asked = request.get_json()
    run = gwsync.chat(asked["text"], asked.get("session", "main"))
    run.close()  # this worker listens no longer; the run goes on
    return {"run": run.run_id, "worker": os.getpid()}, 202


@app.get("/runs/<run_id>")
def words(run_id: str) -> Response:
    """The run's words so far at once, the others as they come; owners may change meanwhile."""
    run = gwsync.follow(run_id)

    def stream() -> Iterator[str]:
        try:
            yield from run
        except gwsync.GatewayError as error:  # 200 has been sent
            yield f"\n[{error.message}]"
        finally:
            run.close()

    headers = {"Cache-Control": "no-store", "X-Worker": str(os.getpid())}
    return Response(stream(), mimetype="text/plain", headers=headers)


@app.get("/healthz")
def healthz() -> tuple[dict[str, Any], int]:
    """200 while there is an owner with a link to the gateway; never asks, never blocks."""
    status = gwsync.status()
    said: dict[str, Any] = {"state": status.state, "worker": os.getpid()}
    if status.last_error is not None:
        said.update(error=status.last_error.message, hint=status.last_error.hint)
    return said, 200 if status.state == "connected" else 503


if __name__ == "__main__":
    if "--once" in sys.argv:
        client = app.test_client()
        run_id = client.post("/ask", json={"text": "What is new?"}).get_json()["run"]
        print("/ask", run_id)
        print("/runs", client.get(f"/runs/{run_id}").get_data(as_text=True))
        print("/healthz", client.get("/healthz").get_json()["state"])
    else:
        app.run(port=8000, threaded=True)
