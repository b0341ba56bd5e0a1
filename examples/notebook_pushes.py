# A notebook in "percent" cells: VS Code, Spyder and Jupytext show it as one, and
# `python examples/notebook_pushes.py` runs it as a script.
# Set GWSYNC_URL and GWSYNC_TOKEN.

# %% Pushes are collected in the background, also while no cell runs
import asyncio
import time
import uuid
from collections import Counter, deque
from typing import Any

import gwsync
from gwsync.api.display import describe

recent: deque[gwsync.Event] = deque(maxlen=1000)


@gwsync.on()  # every event; running the cell again would subscribe once more
def collect(push: gwsync.Event) -> None:
    if isinstance(push, gwsync.Event):
        recent.append(push)


# %% An ordinary call blocks its cell until the answer is there, and no longer
hello = gwsync.hello()
for row in hello.presence:
    print(row.host, row.mode, row.version)


# %% A slow one need not block: in a notebook, `await` stands at the top level of a cell
async def ask() -> list[Any]:
    calls = [asyncio.to_thread(gwsync.request, method) for method in ("health", "status")]
    return await asyncio.gather(*calls)


health, status = asyncio.run(ask())  # in a notebook: health, status = await ask()
print("well" if health["ok"] else "not well", status["runtimeVersion"])

# %% Ask for something that makes events, and come back later
run_id = str(uuid.uuid4())
message = {"sessionKey": "main", "message": "hello words=5 delay=20"}
gwsync.request("chat.send", message, idempotency_key=run_id)


def answer() -> gwsync.Event | None:
    """The event that ends the run, once it is there."""
    chats = [push for push in list(recent) if push.name == "chat"]
    ended = [push for push in chats if push.payload["state"] in ("final", "error", "aborted")]
    return next((push for push in ended if push.payload["runId"] == run_id), None)


deadline = time.monotonic() + 60
while answer() is None and time.monotonic() < deadline:
    time.sleep(0.1)  # you, reading what the other cells printed

# %% What came meanwhile
print(Counter(push.name for push in list(recent)))
end = answer()
print(describe(end) if end else "no answer within a minute")

# %% When the notebook is closed, this happens by itself
gwsync.close()
