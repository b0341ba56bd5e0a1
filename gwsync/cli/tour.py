"""The steps of the demo. Everything in them goes through gwsync's public functions."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gwsync

from ..api.display import summary
from . import output
from .options import connect_limit

if TYPE_CHECKING:
    from ..testing import LocalGateway

STEP_TIMEOUT_S = 10.0
VISIT_S = 3.0
VISIT_LINES = 12
ANSWER = "Hello! These words reach you one by one, as they are written."


class Show:
    """The demo's callback: prints every push, and lets the demo wait for one."""

    def __init__(self, page: output.Page, limit: int = 1000) -> None:
        self.seen: list[Any] = []
        self._page = page
        self._limit = limit
        self._changed = threading.Condition()
        self._began = time.monotonic()

    def __call__(self, push: Any) -> None:
        with self._changed:
            self.seen.append(push)
            self._changed.notify_all()
            if len(self.seen) <= self._limit:
                self.line(push.name, summary(push))

    def line(self, name: str, text: str) -> None:
        """A line that begins with the seconds since this was made."""
        self._page.say(f"{time.monotonic() - self._began:5.2f} s  {name:<9} {text}")

    def wait_for(self, what: str, wanted: Callable[[Any], bool], count: int = 1) -> None:
        """Until ``count`` pushes that are ``wanted`` have come."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: sum(map(wanted, self.seen)) >= count, STEP_TIMEOUT_S
            ):
                raise RuntimeError(f"{what} did not come within {STEP_TIMEOUT_S:g} s")

    @property
    def events(self) -> int:
        """How many events of the gateway there were."""
        return sum(isinstance(push, gwsync.Event) for push in self.seen)


class Steps:
    """What the tour and the visit have in common."""

    def __init__(self, page: output.Page, count: int) -> None:
        self.page = page
        self.events = 0
        self._count = count
        self._number = 0
        self._began = time.monotonic()

    def heading(self, text: str) -> None:
        self._number += 1
        self.page.heading(f"{self._number}/{self._count}  {text}")

    def connect(self, settings: dict[str, Any]) -> None:
        page = self.page
        self.heading("Connect: every stage is recorded, with its time")
        secret = next((name for name in ("token", "password") if name in settings), None)
        page.code(
            ">>> import gwsync",
            f">>> gwsync.configure(url{f', {secret}={secret}' if secret else ''})",
            ">>> gwsync.connect()",
            ">>> print(gwsync.status().trace)",
        )
        gwsync.configure(**settings)
        timeout = settings.get("connect_timeout", gwsync.Config.connect_timeout)
        try:
            hello = gwsync.connect(connect_limit(timeout))
        finally:
            # Also when it fails: which stage it was is what one wants to see then.
            trace = gwsync.status().trace
            for stage in trace.stages if trace is not None else ():
                page.say(str(stage))
        elapsed_ms = trace.elapsed_s * 1000 if trace is not None else 0.0
        page.say(f"connected after {elapsed_ms:.1f} ms, this machine's device key included")
        page.say(f"scopes: {', '.join(hello.scopes or ('not told',))}")

    def ask(self) -> None:
        self.heading("Ask: an ordinary call, which returns the answer")
        self.page.code('>>> gwsync.request("health")')
        began = time.monotonic()
        answer = gwsync.request("health")
        elapsed_ms = (time.monotonic() - began) * 1000
        self.page.say(output.json_text(answer))
        self.page.say(f"answered in {elapsed_ms:.1f} ms")

    def listen(self, seconds: float, lines: int = 1000) -> tuple[Show, gwsync.Subscription]:
        self.heading("Listen: pushes reach a callback while your program is busy")
        self.page.code(
            ">>> def show(push):",
            "...     print(push.name, push.payload)",
            ">>> gwsync.subscribe(show)      # every push, or name the events you want",
            f">>> {f'time.sleep({seconds:g})':<27} # your program, doing something else",
        )
        show = Show(self.page, lines)
        return show, gwsync.subscribe(show)

    def done(self) -> None:
        status = gwsync.status()
        self.page.heading("Done")
        self.page.say(
            f"{time.monotonic() - self._began:.1f} s, no errors; events: {self.events}, "
            f"sockets opened: {status.sockets_opened}, reconnects: {status.reconnects}"
        )


# -- against a gateway of the user's ------------------------------------------------------
def visit(page: output.Page, settings: dict[str, Any]) -> None:
    """Connect, ask, listen for a moment; nothing that changes anything."""
    steps = Steps(page, 3)
    try:
        steps.connect(settings)
        steps.ask()
        show, subscription = steps.listen(VISIT_S, VISIT_LINES)
        time.sleep(VISIT_S)  # a program that is busy: pushes come meanwhile
        subscription.close()
        steps.events = show.events
        if len(show.seen) > VISIT_LINES:
            page.say(f"         and {len(show.seen) - VISIT_LINES} more")
        elif not show.events:
            page.say("No event meanwhile, which is normal for a gateway at rest.")
        steps.done()
    finally:
        gwsync.close(timeout=0)
    page.say("Next: gwsync watch, and gwsync call METHOD, with the same options.")


# -- against a gateway of the demo's ------------------------------------------------------
def tour(page: output.Page, settings: dict[str, Any], gateway: LocalGateway) -> None:
    """All of it: what the visit shows, a restart of the gateway, and a chat answer."""
    steps = Steps(page, 5)
    try:
        steps.connect(settings)
        steps.ask()
        show, subscription = steps.listen(1.5)
        _push_meanwhile(gateway)
        show.wait_for("the pushed events", lambda push: isinstance(push, gwsync.Event), 3)
        restart(steps, show, gateway)
        subscription.close()
        steps.events += show.events
        chat(steps)
        steps.done()
    finally:
        gwsync.close(timeout=0)
    page.say("")
    page.say("Now with a gateway of your own (the token can be in GWSYNC_TOKEN too):")
    page.code("$ gwsync demo --url ws://127.0.0.1:18789 --token-file FILE")
    page.code("$ gwsync call health --url ws://127.0.0.1:18789 --token-file FILE")


def _push_meanwhile(gateway: LocalGateway) -> None:
    """Events from another thread, while this one sleeps as the user's program would."""

    def push() -> None:
        for number in range(1, 4):
            time.sleep(0.4)
            gateway.push("heartbeat", {"ok": True, "number": number})

    pusher = threading.Thread(target=push, name="gwsync-demo", daemon=True)
    pusher.start()
    time.sleep(1.5)
    pusher.join()


def restart(steps: Steps, show: Show, gateway: LocalGateway) -> None:
    """The gateway goes away under a request that is about to be made."""
    page = steps.page
    steps.heading("The gateway restarts, and your program need not know")
    page.code('>>> gwsync.request("health")      # asked while the gateway is down')

    def is_state(state: str) -> Callable[[Any], bool]:
        return lambda push: isinstance(push, gwsync.StateChange) and push.state == state

    gateway.restart(expected_ms=700, down_for=0.5, wait=False)
    show.wait_for("the end of the link", is_state("waiting"))
    show.line("you", 'request("health"): there is no connection, so it waits')
    began = time.monotonic()
    gwsync.request("health")
    elapsed = time.monotonic() - began
    show.wait_for("the new link", is_state("connected"))
    show.wait_for("its snapshot", lambda push: isinstance(push, gwsync.Snapshot), 2)
    show.line("you", f"answered after {elapsed:.1f} s, without an error")


def chat(steps: Steps) -> None:
    """One question, its answer as it is written."""
    page = steps.page
    steps.heading("Chat: the answer streams to a callback")
    page.code(
        '>>> gwsync.subscribe(show, "chat")',
        '>>> question = {"sessionKey": "main", "message": "Hello?"}',
        '>>> gwsync.request("chat.send", question, idempotency_key=run_id)',
    )
    show = Show(page)
    with_key = str(uuid.uuid4())
    # What follows "echo:" is what LocalGateway answers, a word every so many milliseconds.
    question = {"sessionKey": "main", "message": f"Hello? delay=90 echo:{ANSWER}"}
    subscription = gwsync.subscribe(show, "chat", replay=False)
    gwsync.request("chat.send", question, idempotency_key=with_key)
    show.wait_for("the answer", lambda push: push.payload.get("state") == "final")
    subscription.close()
    steps.events += show.events
    final = show.seen[-1].payload
    page.say(f"all of it: {final['message']['content'][0]['text']}")
