"""Runs notebooks in JupyterLab's kernel. A program: its warnings must not be the tests' errors.

``python notebooks.py NOTEBOOK`` executes a file as ``jupyter execute`` would, and prints the
notebook with its outputs. ``python notebooks.py --session`` runs a session of its own against a
gateway of its own and prints, as JSON, what each cell gave.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import nbformat
from nbclient import NotebookClient

from gwsync.testing import LocalGateway

WAIT_S = 120


class Kernel:
    """A kernel and the notebook whose cells it runs."""

    def __init__(self) -> None:
        self.notebook = nbformat.v4.new_notebook()
        self.client = NotebookClient(self.notebook, timeout=WAIT_S, allow_errors=True)
        self.results: dict[str, Any] = {}

    async def cell(self, name: str, source: str) -> None:
        """Run one more cell; what it printed, showed as HTML and raised becomes a result."""
        await self.start(source)
        self.keep(name)

    async def start(self, source: str) -> None:
        self.notebook.cells.append(nbformat.v4.new_code_cell(source))
        await self.client.async_execute_cell(self.notebook.cells[-1], self._last)

    async def interrupt(self, name: str, source: str, when: Callable[[], bool]) -> None:
        """Run one more cell, and press the stop button as soon as ``when()``."""
        running = asyncio.create_task(self.start(source))
        while not when():
            assert not running.done(), self.notebook.cells[-1]
            await asyncio.sleep(0.01)
        interrupted = self.client.km.interrupt_kernel()
        if asyncio.iscoroutine(interrupted):
            await interrupted
        await running
        self.keep(name)

    def keep(self, name: str) -> None:
        self.results[name] = {
            "text": self.text,
            "html": "".join(o["data"].get("text/html", "") for o in self._of("execute_result")),
            "displayed": self.displayed,
            "errors": [output["ename"] for output in self._of("error")],
            "traceback": "".join("".join(output["traceback"]) for output in self._of("error")),
            "stderr": "".join(o["text"] for o in self._of("stream") if o["name"] == "stderr"),
        }

    @property
    def text(self) -> str:
        """What the running cell has printed so far."""
        return "".join(o["text"] for o in self._of("stream") if o["name"] == "stdout")

    @property
    def displayed(self) -> str:
        """What the running cell displays, as a person sees it now."""
        return "".join(o["data"].get("text/plain", "") for o in self._of("display_data"))

    @property
    def _last(self) -> int:
        return len(self.notebook.cells) - 1

    def _of(self, kind: str) -> list[Any]:
        if not self.notebook.cells:
            return []
        return [o for o in self.notebook.cells[-1].outputs if o["output_type"] == kind]


SETUP = """
import asyncio, time, threading
import gwsync
gwsync.configure({url!r}, token={token!r}, state_dir={state_dir!r})
arrived = []
@gwsync.on("demo", replay=False)
def callback(push):
    if push.name == "demo":
        arrived.append(time.monotonic())
        gwsync.request("arrived")
"""
COROUTINE = """
async def ask():
    await asyncio.sleep(0)
    return gwsync.request("echo", {"n": 7})
print(await ask())
"""
TO_THREAD = """
ticks = 0
async def tick():
    global ticks
    while True:
        await asyncio.sleep(0.005)
        ticks += 1
        if ticks == 20:
            gwsync.request("release")  # the held one may end: the loop has ticked meanwhile
ticker = asyncio.create_task(tick())
print(await asyncio.to_thread(gwsync.request, "held", {"n": 8}), ticks >= 20)
ticker.cancel()
"""
BLOCKED = """
def tell():
    while not gwsync.status().pending:
        time.sleep(0.01)
    print("blocked", flush=True)
threading.Thread(target=tell).start()
gwsync.request("forever", timeout=100)
"""


LISTEN = """
heard = threading.Event()
@gwsync.on("shout", replay=False)
def shout(push):
    if push.name == "shout":
        print("of the callback")
        display("of the callback too")
        heard.set()
"""
ANOTHER_CELL = """
gwsync.request("shout")
print("heard", heard.wait(60))
"""


async def session(kernel: Kernel, gateway: LocalGateway, state_dir: str) -> None:
    """Cell after cell, with what happens between them."""
    await kernel.cell("request", 'print(gwsync.request("echo", {"n": 6}))')
    gateway.push("demo", 1)
    gateway.push("demo", 2)
    # no cell runs while this waits for the callback's own requests
    await asyncio.to_thread(gateway.wait_requests, "arrived", 2, timeout=WAIT_S)
    await kernel.cell("between", "print(len(arrived))")
    await kernel.cell("coroutine", COROUTINE)
    await kernel.cell("to_thread", TO_THREAD)
    await kernel.interrupt("interrupt", BLOCKED, lambda: "blocked" in kernel.text)
    await kernel.cell(
        "after", 'print(gwsync.request("echo", {"n": 9}), gwsync.status().sockets_opened)'
    )
    for name in ("status()", "hello()", "status().trace"):
        await kernel.cell(name, f"gwsync.{name}")
    await kernel.cell("listen", LISTEN)
    await kernel.cell("another cell", ANOTHER_CELL)
    await kernel.cell("chat", 'gwsync.chat("echo:<b>hello</b>")')
    chat = 'gwsync.chat("words=4000 delay=20")'
    await kernel.interrupt("stopped chat", chat, lambda: "word9 " in kernel.displayed)
    await kernel.cell("lists", "print(len(gwsync.sessions.list())); gwsync.sessions.list()")


async def run_session() -> dict[str, Any]:
    kernel = Kernel()
    with LocalGateway() as gateway, tempfile.TemporaryDirectory() as state_dir:
        gateway.on_method("echo", lambda params: params)
        gateway.on_method("held", lambda params: params)
        gateway.on_method("arrived", lambda params: None)
        gateway.on_method("release", lambda params: gateway.release("held"))
        gateway.on_method("shout", lambda params: gateway.push("shout", None))
        gateway.hold("held")
        gateway.hold("forever")
        async with kernel.client.async_setup_kernel():
            setup = SETUP.format(url=gateway.url, token=gateway.token, state_dir=state_dir)
            await kernel.cell("setup", setup)
            await session(kernel, gateway, state_dir)
        kernel.results["token"] = gateway.token
        kernel.results["aborts"] = sum(one.method == "chat.abort" for one in gateway.ledger)
    return kernel.results


def execute(path: str) -> Any:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return NotebookClient(notebook, timeout=WAIT_S).execute()


if __name__ == "__main__":
    told = asyncio.run(run_session()) if sys.argv[1] == "--session" else execute(sys.argv[1])
    print(json.dumps(told))
