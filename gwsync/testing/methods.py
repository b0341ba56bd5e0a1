"""The methods a LocalGateway serves by itself, and how a request reaches one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..runtime.dispatch import run_native
from . import schema
from .calls import Call
from .log import LOGS_TAIL
from .records import GatewayRefusal
from .scopes import ADMIN, METHOD_SCOPES, READ, allows, missing_scope

if TYPE_CHECKING:
    from .core import Core

Run = Callable[[Call], None]
Handler = Callable[[Any], Any]


@dataclass(frozen=True)
class Method:
    """``scope`` to call it, ``check`` of its params (None: anything goes), ``run`` on the hub."""

    scope: str | None
    check: schema.Check | None
    run: Run


def _answers(core: Core, make: Callable[[Call], Any]) -> Run:
    def run(call: Call) -> None:
        call.executing()
        call.answer(make(call))

    return run


_text, _name = schema.string(), schema.string(1)
_KEY = schema.string(1, 512)
_RUN_OPTIONS = {
    **dict.fromkeys(
        (
            "agentId",
            "sessionId",
            "thinking",
            "queueMode",
            "replyToId",
            "expectedLeafEntryId",
            "originatingChannel",
            "originatingTo",
            "originatingAccountId",
            "systemInputProvenance",
            "lane",
            "label",
            "extraSystemPrompt",
            "to",
            "channel",
            "provider",
            "model",
        ),
        _text,
    ),
    **dict.fromkeys(("deliver", "fastMode", "expectFinal"), schema.anything),
    "attachments": schema.array(schema.anything),
    "timeoutMs": schema.integer(0),
}
CHAT_SEND = schema.record(
    {"sessionKey": _KEY, "message": _text, "idempotencyKey": _name}, _RUN_OPTIONS
)
CHAT_ABORT = schema.record({"sessionKey": _KEY}, {"runId": _name, "agentId": _name})
CHAT_HISTORY = schema.record(
    {"sessionKey": _KEY},
    {
        "agentId": _name,
        "limit": schema.integer(1, 1000),
        "offset": schema.integer(0),
        "cursor": _text,
        "messageId": _text,
        "maxChars": schema.integer(1, 500_000),
    },
)
AGENT = schema.record(
    {"message": _name, "idempotencyKey": _name},
    {**_RUN_OPTIONS, "sessionKey": _KEY, "timeout": schema.integer(0)},
)
_NEED_SESSION = ("chat.send", "chat.abort")  # looked at before the schema is
AGENT_WAIT = schema.record({"runId": _name}, {"timeoutMs": schema.integer(0)})


def builtin(core: Core) -> dict[str, Method]:
    """Every method served out of the box."""
    boot = core.boot
    own_id = {"deviceId": core.identity[0], "publicKey": core.identity[1]}

    def plain(name: str, make: Callable[[Call], Any], check: schema.Check | None = None) -> Method:
        return Method(METHOD_SCOPES[name], check, _answers(core, make))

    return {
        "health": plain("health", lambda call: boot.health()),
        "status": plain("status", lambda call: boot.status()),
        "system-presence": plain("system-presence", lambda call: boot.presence()),
        "gateway.identity.get": plain("gateway.identity.get", lambda call: own_id),
        "logs.tail": plain("logs.tail", core.log.tail, LOGS_TAIL),
        "last-heartbeat": plain("last-heartbeat", lambda call: None),
        **{
            name: Method(METHOD_SCOPES[name], *how)
            for desk in (core.desk, core.approvals)
            for name, how in desk.methods().items()
        },
        "chat.send": Method(METHOD_SCOPES["chat.send"], CHAT_SEND, core.chat.send),
        "chat.abort": Method(METHOD_SCOPES["chat.abort"], CHAT_ABORT, core.chat.abort),
        "chat.history": Method(METHOD_SCOPES["chat.history"], CHAT_HISTORY, core.chat.history),
        "agent": Method(METHOD_SCOPES["agent"], AGENT, core.chat.agent),
        "agent.wait": Method(METHOD_SCOPES["agent.wait"], AGENT_WAIT, core.chat.agent_wait),
    }


def custom(core: Core, name: str, handler: Handler, scope: str | None, inline: bool) -> Method:
    """A method made of a test's own ``handler(params) -> payload``."""

    def finish(call: Call) -> Callable[[], None]:
        try:
            payload = handler(call.received.params)
        except GatewayRefusal as refusal:
            return lambda error=refusal: call.refuse(error)  # type: ignore[misc]
        except Exception as exc:
            broken = GatewayRefusal("UNAVAILABLE", f"{type(exc).__name__}: {exc}")
            return lambda: call.refuse(broken)
        return lambda: call.answer(payload)

    def run(call: Call) -> None:
        call.executing()
        if inline:
            finish(call)()
        else:
            # A worker thread: the handler may block, and may use the gateway's own methods.
            run_native(lambda: core.hub.call_soon(finish(call)))

    return Method(scope, None, run)


def default_scope(name: str) -> str | None:
    """The scope of a method that a test serves itself, unless the test says."""
    return METHOD_SCOPES.get(name, READ)


def carry_out(method: Method | None, call: Call) -> None:
    """Scope, then existence, then params, then the method: the real one's order."""
    name = call.received.method
    scope = method.scope if method is not None else METHOD_SCOPES.get(name, ADMIN)
    if not allows(call.peer.scopes, scope):
        call.refuse(missing_scope(scope or ADMIN))
    elif name == "connect":
        call.refuse(_invalid("connect is only valid as the first request"))
    elif method is None:
        call.refuse(_invalid(f"unknown method: {name}"))
    elif method.check is not None and name in _NEED_SESSION and not call.params.get("sessionKey"):
        details = {"code": "SESSION_MUTATION_TARGET_REQUIRED", "method": name}
        call.refuse(_invalid("session mutation target is unavailable", details))
    else:
        params = {} if call.received.params is None else call.received.params
        wrong = schema.complaints(method.check, params) if method.check is not None else ""
        if wrong:
            call.refuse(_invalid(f"invalid {name} params: {wrong}"))
        else:
            method.run(call)


def _invalid(message: str, details: Any = None) -> GatewayRefusal:
    return GatewayRefusal("INVALID_REQUEST", message, details=details)
