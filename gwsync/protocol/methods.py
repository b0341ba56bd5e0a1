"""What gwsync knows of single gateway methods (release 2026.9.6).

Source: the gateway's own schema (``methods`` and the ``*Params`` definitions) beside what
``features.methods`` of hello-ok advertises.
"""

from __future__ import annotations

from typing import NamedTuple


class Subscribes(NamedTuple):
    """How a call that makes the gateway push to this connection is told from others, and ended."""

    undone_by: str | None
    key: tuple[str, ...]


# These register the connection with the gateway, which forgets it with the socket: after a
# reconnect each must be sent again, or its events just stay away. One registration per method and
# values of ``key`` (params; () means one per connection); the same call again replaces the former,
# with its other params (``includeApprovals``, ``sessionKeys``, ``visible``). ``undone_by`` takes
# the same ``key`` and ends it; where it is None only the end of the connection does, or the call
# itself with an empty list or False.
# Source: what the gateway tears down by connection id when a socket closes, release 2026.9.6, with
# sessions.unsubscribe of earlier ones. Not here:
# * push.web.subscribe: a browser's web-push address, which outlives all connections.
# * terminal.attach: taken again by itself, it would take the terminal from whoever has it by now.
# * chat.startup without a sessionKey: subscribes as sessions.subscribe does, but answers a history.
# * agent and chat.send: the connection that started a run gets its tool events; not to be renewed.
SUBSCRIBES: dict[str, Subscribes] = {
    "controlUi.sessionPullRequests.subscribe": Subscribes(None, ()),
    # the gateway has one subscription for "main" and "agent:main:main"; its reply says the latter
    "sessions.messages.subscribe": Subscribes("sessions.messages.unsubscribe", ("key", "agentId")),
    "sessions.observer.visibility": Subscribes(None, ()),  # whether the observer works for us
    "sessions.subscribe": Subscribes("sessions.unsubscribe", ()),  # unknown to 2026.9.6
    "sessions.viewers.set": Subscribes(None, ()),  # which sessions others see us look at
}
# by the call that ends it: the call that made it
UNSUBSCRIBES = {entry.undone_by: name for name, entry in SUBSCRIBES.items() if entry.undone_by}
SUBSCRIPTION_METHODS = frozenset(SUBSCRIBES) | frozenset(UNSUBSCRIBES)

# Their params require an idempotencyKey; gwsync makes one where the caller gave none.
WANTS_IDEMPOTENCY_KEY = frozenset(
    {
        "agent",
        "chat.send",
        "environments.create",
        "message.action",
        "migrations.memory.apply",
        "node.invoke",
        "poll",
        "send",
        "sessions.github.publish",
        "skills.proposals.requestRevision",
    }
)

# They exist, though no hello-ok names them: "unknown method?" would be the wrong guess.
UNADVERTISED = frozenset(
    {
        "assistant.media.get",
        "chat.inject",
        "config.openFile",
        "connect",
        "device.pair.setupCode",
        "device.pair.setupStatus",
        "mcp.authLogin",
        "nativeHook.invoke",
        "node.runnerInventory.update",
        "poll",
        "push.test",
        "push.web.subscribe",
        "push.web.test",
        "push.web.unsubscribe",
        "push.web.vapidPublicKey",
        "sessions.get",
        "sessions.resolve",
        "sessions.steer",
        "sessions.usage",
        "sessions.usage.logs",
        "sessions.usage.timeseries",
        "web.login.start",
        "web.login.wait",
    }
)


def takes_traceparent(version: str) -> bool:
    """Whether a gateway of that release takes ``traceparent`` on requests.

    2026.7.1 and older refuse such a request as a whole, 2026.9.6 takes it; of those between
    nobody knows. Source: tests/real, release by release.
    """
    year, _, rest = version.partition(".")
    month = rest.partition(".")[0]
    known = year.isascii() and month.isascii() and year.isdecimal() and month.isdecimal()
    return known and (int(year[:9]), int(month[:9])) >= (2026, 9)
