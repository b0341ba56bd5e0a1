"""The public API as users write it. Checked by mypy --strict, never run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import gwsync
from gwsync.api.display import describe
from gwsync.testing import FaultProxy, GatewayRefusal, LocalGateway, Received, Recording, override

# -- opening and closing ----------------------------------------------------------------------
gwsync.configure()
gwsync.configure("wss://box.tailnet.ts.net", token="t", scopes=("operator.read",))
hello: gwsync.Hello = gwsync.connect()
hello = gwsync.connect(5.0, retry_for=60)
hello = gwsync.connect(timeout=None)
hello = gwsync.hello(timeout=gwsync.UNSET)
ended: bool = gwsync.wait(0.5)
gwsync.close(timeout=0)
connection: gwsync.Connection = gwsync.shared()

# -- calls ------------------------------------------------------------------------------------
health: dict[str, Any] = gwsync.request("health")
answer: Any = gwsync.request("chat.send", {"message": "hi"}, idempotency_key="k", timeout=None)
result: str = gwsync.request("agent", {"message": "hi"}, final=True)["summary"]
answers: list[Any] = gwsync.request_many([("health", None), ("status", {})], timeout=3)
mixed: list[Any] = gwsync.request_many(iter([("health", None)]), return_exceptions=True)


async def from_asyncio() -> Any:
    return await asyncio.to_thread(gwsync.request, "health", timeout=5.0)


# -- pushes -----------------------------------------------------------------------------------
def callback(push: gwsync.Event) -> None:
    words: str = push.text
    print(push.name, push.payload, push.seq, words)


def any_push(push: object) -> int:
    return 0


subscription: gwsync.Subscription = gwsync.subscribe(callback, "chat", "agent")
subscription = gwsync.subscribe(any_push, max_queue=10, on_full="block", replay=False)
errors: int = subscription.errors
subscription.close()


run: gwsync.Run = gwsync.chat("hello", session="main", attachments=["a.png"], timeout=60)
for words in run:
    heard: str = words
    anew: bool = words.replaces
followed: gwsync.Run = gwsync.follow("its id", session="main", timeout=60, patience=5.0)
for happened in gwsync.agent("do it").events():
    kind: str = happened.kind
outcome_of_it: gwsync.RunResult = run.result()
gwsync.chat("hello", sesion="main")  # type: ignore[call-arg]
try:
    whole: str = run.text()
except gwsync.RunError as failed:
    why: str = failed.kind


@gwsync.on("chat", max_queue=5)
def decorated(push: gwsync.Event) -> str:
    return push.name


same: Callable[[gwsync.Event], str] = decorated  # the decorator gives back what it got

stream: gwsync.PushStream = gwsync.pushes("health", replay=False)
with gwsync.pushes("chat") as pushes:
    for push in pushes:
        name: str = push.name
        line: str = describe(push)
        text: str = push.text
        if isinstance(push, gwsync.Event):
            seq: int | None = push.seq
        elif isinstance(push, gwsync.Snapshot):
            state: Mapping[str, Any] = push.hello.snapshot
        elif isinstance(push, gwsync.SeqGap):
            missed: int = push.received - push.expected
        elif isinstance(push, gwsync.Dropped):
            lost: int = push.count
        else:
            change: gwsync.StateChange = push
            retry_in: float | None = change.retry_in

# -- looking ----------------------------------------------------------------------------------
status: gwsync.Status = gwsync.status()
trace: gwsync.Trace | None = status.trace
rtt: float | None = status.rtt
last: gwsync.GatewayError | None = status.last_error
queued: list[int] = [one.queued for one in status.subscriptions]
stages: tuple[gwsync.StageRecord, ...] = trace.stages if trace is not None else ()
slowest: float = max(stage.elapsed_s for stage in stages)

protocol: int = hello.protocol
version: str = hello.server_version
boot_id: str | None = hello.boot_id
scopes: tuple[str, ...] | None = hello.scopes
methods: frozenset[str] = hello.methods
healthy: Any = hello.health["ok"]
row: gwsync.PresenceRow = hello.presence[0]
roles: tuple[str, ...] = row.roles
since: Any = row.raw["ts"]

# -- explicit ---------------------------------------------------------------------------------
config: gwsync.Config = gwsync.Config(
    url="wss://box.tailnet.ts.net",
    token="t",
    address_family="any",
    reconnect=gwsync.ReconnectPolicy(first=3.0),
    headers=(("X-Team", "ours"),),
)
config = gwsync.Config.discover(url="ws://127.0.0.1:18789")
source: str = config.sources["url"]
with gwsync.Connection(config) as gw:
    answer = gw.request("health")
    answers = gw.request_many([("health", None)])
    status = gw.status()

    @gw.on()
    def everything(push: object) -> None:
        pass


# -- errors -----------------------------------------------------------------------------------
try:
    gwsync.request("health")
except gwsync.MissingScope as missing:
    required: tuple[str, ...] = missing.required
except gwsync.RequestError as refused:
    code: str = refused.code
except gwsync.PairingRequired as pairing:
    command: str = pairing.approve_command
except gwsync.DialError as unreachable:
    stage: str = unreachable.stage
    stages = unreachable.trace.stages if unreachable.trace is not None else ()
except gwsync.GatewayError as error:
    hint: str = error.hint
    may_have_run: bool = error.outcome == "maybe"

# -- sessions ---------------------------------------------------------------------------------
for session in gwsync.sessions.list(limit=5):
    session_name: str = session.name
with gwsync.Connection().sessions.watch(agent="main") as session_changes:
    for session_change in session_changes:
        was = session_change.before.title if session_change.before else session_change.kind
said: list[str] = [one.text for one in gwsync.sessions.history("main", page=50)]
deleted: bool = gwsync.sessions.delete("trip")

# -- approvals --------------------------------------------------------------------------------
for approval in gwsync.approvals.pending():
    decided: str = gwsync.approvals.resolve(approval.id, "deny").decision
with gwsync.approvals.watch(lambda one: print(one.summary), resolved=print) as approval_watch:
    waiting_now: int = len(approval_watch.pending)

# -- testing ----------------------------------------------------------------------------------


def refuse(params: Any) -> Any:
    raise GatewayRefusal("UNAVAILABLE", "not now", retryable=True)


with LocalGateway(token="t") as gateway:
    local = gwsync.Config(url=gateway.url, token=gateway.token)
    gateway.on_method("ours", refuse)
    with override(local) as replaced:
        connection = replaced
    with override(gwsync.Connection(local)):
        count: int = gateway.push("chat", {"state": "final"})
    received: list[Received] = gateway.wait_requests("health", count=1)
    with FaultProxy(gateway) as proxy, FaultProxy(proxy), FaultProxy("127.0.0.1:18789"):
        url: str = proxy.url
        proxy.freeze(after=100, direction="down")
        proxy.tamper(lambda data: data[::-1])
        recording: Recording = proxy.record()
        there: bool = proxy.wait_for(lambda one: one.connections == 1)
