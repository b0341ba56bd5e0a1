"""What the gateway's methods did, counted where they did it: the truth of the outcomes' soak."""

from __future__ import annotations

from collections import Counter
from typing import Any

import gwsync
from gwsync.testing import GatewayRefusal, LocalGateway

READ, WRITE, KEYED, CHAT = "status", "soak.write", "soak.keyed", "chat.send"
NEVER = 101  # every so many calls one is refused for good,
BUSY = 97  # and another at its first arrival, with "try again"
CHAT_EVERY = 20  # keyed calls are recognised by the test's own method, some by the gateway's
BUSY_MS = 5


def kind_of(number: int) -> str:
    """Reads, plain writes and keyed ones in turn."""
    if number % CHAT_EVERY == 0:
        return CHAT
    return (READ, WRITE, KEYED)[number % 3]


def refused(number: int) -> bool:
    return number % NEVER == 0 and kind_of(number) != CHAT


def ask(connection: gwsync.Connection, number: int) -> Any:
    """Make the call of that number."""
    kind = kind_of(number)
    if kind == CHAT:
        params = {"sessionKey": "main", "message": f"{number} words=1"}
        return connection.request(CHAT, params, idempotency_key=str(number))
    key = str(number) if kind == KEYED else None
    return connection.request(kind, {"n": number}, idempotency_key=key)


class Effects:
    """How often each call arrived, and how often it had its effect; on the gateway's thread."""

    def __init__(self) -> None:
        self.arrived: Counter[int] = Counter()
        self.ran: Counter[int] = Counter()

    def serve(self, gateway: LocalGateway) -> None:
        """Make ``gateway`` offer the methods that count."""
        for name in (READ, WRITE, KEYED):
            gateway.on_method(name, self._handler(name), scope="operator.read", inline=True)

    def add_chats(self, gateway: LocalGateway) -> None:
        """Count the chats too, by the gateway's own books."""
        for count, book in ((self.arrived, gateway.ledger), (self.ran, gateway.executed)):
            count.update(int(one.idempotency_key or 0) for one in book if one.method == CHAT)

    def _handler(self, name: str) -> Any:
        def handle(params: Any) -> Any:
            number = params["n"]
            self.arrived[number] += 1
            if refused(number):
                raise GatewayRefusal("INVALID_REQUEST", "never")
            if number % BUSY == 0 and self.arrived[number] == 1:
                raise GatewayRefusal("UNAVAILABLE", "busy", retryable=True, retry_after_ms=BUSY_MS)
            # recognised by its key, a call has its effect once; its answer comes again
            if name != KEYED or not self.ran[number]:
                self.ran[number] += 1
            return {"n": number}

        return handle

    def wrong(self, outcomes: dict[int, str]) -> list[str]:
        """Where what the callers were told differs from what happened here."""
        found = []
        for number, outcome in outcomes.items():
            arrived, ran, kind = self.arrived[number], self.ran[number], kind_of(number)
            fine = {
                "ok": ran == 1 or (kind == READ and ran > 1),
                "maybe": ran <= 1 or kind == READ,
                "rejected": ran == 0 and arrived > 0,
                "not_sent": arrived == 0,
            }
            if not fine.get(outcome, False):
                found.append(f"{kind} {number}: told {outcome}, arrived {arrived}, ran {ran}")
        return found
