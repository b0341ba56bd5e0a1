"""``gwsync.approvals``: what agents may not do before a person allows it.

A gateway asks only whom it can reach: connections with the scope operator.approvals whose
capabilities name ``approvals``. Where there is none it denies at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from ..config import UNSET
from ..errors import ConfigError, ConnectionLost, GatewayError, ProtocolError, RequestError
from ..session.subscriptions import Subscription
from ..values import Dropped, Event, Push, SeqGap, Snapshot
from .approval_rows import (
    DECISIONS,
    FAMILIES,
    Approval,
    ApprovalList,
    ended,
    snapshot,
    waiting,
)
from .caller import Caller, Timeout, Who

__all__ = ["Approval", "ApprovalList", "ApprovalWatch", "Approvals", "NotListed"]

log = logging.getLogger("gwsync.session")
SCOPES = ("operator.approvals", "operator.admin")
CAPS = ("approvals", "exec-approvals", "plugin-approvals")
REMEMBERED = 10_000  # ids of approvals that were told, so that none is told twice
Callback = Callable[[Approval], object]


class NotListed(RequestError):
    """The gateway is a release that cannot tell which approvals wait."""

    def __init__(self, version: str, code: str) -> None:
        super().__init__(
            f"this gateway, {version}, has no list of what waits for approval",
            method="exec.approval.list",
            code=code,
            hint="a watch hears what comes from now on, and resolve() answers it by its whole id",
        )


class Approvals:
    """``gwsync.approvals``, or ``connection.approvals``.

    Needs ``scopes=(..., "operator.approvals")``, and to be asked ``caps=("approvals",)``.
    A gateway before 2026.4 has no list of what waits: ``watch()`` hears what comes from then on.
    """

    def __init__(self, who: Who) -> None:
        self._who = who

    def pending(self, *, timeout: Timeout = UNSET) -> ApprovalList:
        """What waits for a decision now, the oldest first; a table in notebooks.

        Raises NotListed where the gateway is too old to tell.
        """
        return _pending(self._who(), timeout)

    def watch(
        self,
        callback: Callback,
        *,
        resolved: Callback | None = None,
        timeout: Timeout = UNSET,
    ) -> ApprovalWatch:
        """Have ``callback(approval)`` called once for each approval that waits.

        Begins with those that wait already, after each reconnect too. ``resolved(approval)``
        is called once for each of them that came to an end, by whomever; its ``status`` and
        ``decision`` say how. Callbacks run one after another and may resolve. ``close()``
        ends it. Raises ConfigError where the gateway would not ask this connection.
        """
        caller = self._who()
        scopes, caps = caller._said(timeout)
        if not set(SCOPES) & set(scopes):
            raise ConfigError(
                "approvals are for connections with the scope operator.approvals",
                hint="ask for it: scopes=(..., 'operator.approvals')",
            )
        if caps is not None and not set(CAPS) & set(caps):
            raise ConfigError(
                "the gateway asks nobody who does not say that they decide on approvals",
                hint='say it: caps=("approvals",)',
            )
        return ApprovalWatch(caller, callback, resolved, timeout)

    def resolve(
        self, id: str, decision: str = "allow-once", *, timeout: Timeout = UNSET
    ) -> Approval:
        """Answer an approval; it as it then is.

        ``decision``: ``"allow-once"``, ``"allow-always"`` or ``"deny"``. Where somebody was
        faster, or it expired, that is no error: ``status`` and ``decision`` say what holds.
        An approval that the gateway does not know is one (RequestError). Sent again if the
        link breaks meanwhile, as the first decision holds anyway.
        """
        if decision not in DECISIONS:
            raise ConfigError(
                f"{decision!r} is no decision", hint=f"it is one of {', '.join(DECISIONS)}"
            )
        caller = self._who()
        try:
            return _resolve(caller, id, decision, timeout)
        except ConnectionLost:
            return _resolve(caller, id, decision, timeout)


class ApprovalWatch:
    """A watch under way. ``pending``: what waits now; ``close()`` ends it."""

    def __init__(
        self, caller: Caller, callback: Callback, resolved: Callback | None, timeout: Timeout
    ) -> None:
        self._caller = caller
        self._callback = callback
        self._resolved = resolved
        self._timeout = timeout
        self._pending: dict[str, Approval] = {}
        self._told: dict[str, None] = {}  # in order, the oldest first
        self._doubt = self._closed = False
        events = [f"{family}.approval.{what}" for family in FAMILIES for what in _WHAT]
        # `tick`: time for another try where a look failed
        self._subscription: Subscription = caller.subscribe(
            self._take, *events, "tick", on_full="block"
        )

    @property
    def pending(self) -> ApprovalList:
        """What waits for a decision, as far as was heard."""
        return ApprovalList(self._pending.values())

    def close(self) -> None:
        """No further callback; one under way finishes. Idempotent."""
        self._closed = True
        self._subscription.close()

    def __enter__(self) -> ApprovalWatch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- one push after another, never two at a time ------------------------------------------
    def _take(self, push: Push) -> None:
        if isinstance(push, (Snapshot, SeqGap, Dropped)):
            self._doubt = True
        elif isinstance(push, Event) and push.name != "tick":
            self._hear(push)
        elif any(_over(one) for one in self._pending.values()):  # some releases do not tell
            self._doubt = True
        if self._doubt:
            self._look()

    def _hear(self, event: Event) -> None:
        family, _, what = event.name.partition(".approval.")
        try:
            payload = event.payload
        except ProtocolError:
            self._doubt = True
            return
        if what == "requested":
            approval = waiting(payload, family)
            if approval is not None:
                self._ask(approval)
        else:
            id = payload.get("id") if isinstance(payload, Mapping) else None
            approval = ended(payload, family, self._pending.get(str(id)))
            if approval is not None:
                self._end(approval)

    def _look(self) -> None:
        self._doubt = False
        try:
            there = {one.id: one for one in _pending(self._caller, self._timeout)}
        except NotListed:
            there = {one.id: one for one in self.pending if not _over(one)}
        except GatewayError as error:
            self._doubt = True
            log.warning("pending approvals could not be listed: %s", error)
            return
        for approval in [one for one in self.pending if one.id not in there]:
            self._end(self._what_became_of(approval))
        for approval in there.values():
            self._ask(approval)

    def _what_became_of(self, approval: Approval) -> Approval:
        try:
            answer = self._caller.request(
                "approval.get", {"id": approval.id}, timeout=self._timeout
            )
            found = snapshot(answer)
        except GatewayError:  # a restart, or a release before 2026.7
            found = None
        return found or replace(approval, status="expired" if _over(approval) else "gone")

    def _ask(self, approval: Approval) -> None:
        if approval.id in self._told:
            return
        self._told[approval.id] = None
        while len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        self._pending[approval.id] = approval
        self._call(self._callback, approval)

    def _end(self, approval: Approval) -> None:
        self._told[approval.id] = None  # a late word of its beginning begins nothing
        if self._pending.pop(approval.id, None) is not None and self._resolved is not None:
            self._call(self._resolved, approval)

    def _call(self, callback: Callback, approval: Approval) -> None:
        """What a callback raises costs that call, not those behind it."""
        if self._closed:
            return
        try:
            callback(approval)
        except Exception:
            logging.getLogger("gwsync.dispatch").exception(
                "the callback for approval %s raised", approval.id
            )


_WHAT = ("requested", "resolved")


def _over(approval: Approval) -> bool:
    return 0 < approval.expires_at < time.time()


def _pending(caller: Caller, timeout: Timeout) -> ApprovalList:
    methods = caller.hello(timeout).methods
    found: list[Approval] = []
    for family in FAMILIES:
        method = f"{family}.approval.list"
        try:
            rows = caller.request(method, {}, timeout=timeout)
        except RequestError as error:
            if method in methods or (family == "exec" and not methods):
                raise
            if family == "exec":
                raise NotListed(caller.hello(timeout).server_version, error.code) from None
            continue  # a release that has no such approvals
        rows = rows if isinstance(rows, list) else []
        found += [one for one in (waiting(row, family) for row in rows) if one is not None]
    return ApprovalList(sorted(found, key=lambda one: one.created_at))


def _resolve(caller: Caller, id: str, decision: str, timeout: Timeout) -> Approval:
    if "approval.resolve" in caller.hello(timeout).methods:
        known = snapshot(caller.request("approval.get", {"id": id}, timeout=timeout))
        kind = known.kind if known is not None else "exec"
        params = {"id": id, "kind": kind, "decision": decision}
        answer = snapshot(caller.request("approval.resolve", params, timeout=timeout))
        if answer is None:
            raise ProtocolError("approval.resolve was answered with no approval")
        return answer
    family = "plugin" if id.startswith("plugin:") else "exec"
    try:
        caller.request(
            f"{family}.approval.resolve", {"id": id, "decision": decision}, timeout=timeout
        )
    except RequestError as error:
        reason = error.details.get("reason") if isinstance(error.details, Mapping) else None
        if reason != "APPROVAL_ALREADY_RESOLVED":
            raise
        return Approval(id, FAMILIES[family], status="gone")  # it does not say how
    status = "denied" if decision == "deny" else "allowed"
    return Approval(id, FAMILIES[family], status=status, decision=decision)
