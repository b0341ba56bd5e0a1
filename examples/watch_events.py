"""Send a chat message and watch the events of its answer arrive at a callback.

Callbacks run on threads of their own: they may block, and they may call the gateway.
Set GWSYNC_URL and GWSYNC_TOKEN.
"""

import threading
import uuid

import gwsync

run_id = str(uuid.uuid4())  # the gateway names the run after the idempotency key
finished = threading.Event()


@gwsync.on("chat")
def show(push: gwsync.Event | gwsync.Snapshot | gwsync.StateChange) -> None:
    if not isinstance(push, gwsync.Event):
        print("--", push.name)  # Snapshot, StateChange, ...: markers come to everyone
    elif push.payload.get("runId") == run_id:
        print(push.payload["state"], push.payload.get("deltaText", ""))
        if push.payload["state"] in ("final", "aborted", "error"):
            finished.set()


# Subscribed first, sent second: no event of the answer can be missed.
message = {"sessionKey": "main", "message": "hello words=5 delay=20"}
gwsync.request("chat.send", message, idempotency_key=run_id)
if not finished.wait(60):
    raise SystemExit("no answer within a minute")
gwsync.close()
