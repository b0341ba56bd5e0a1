"""The calls of a fleet at its owner: taken from the stream, asked of the gateway, answered.

They become calls of an ordinary connection, bounded in flight. An entry leaves the stream
when its answer is written, so what a dead owner had is found by the next one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from heapq import heappop, heappush

from ..errors import ConnectionClosed, GatewayError, ProtocolError, RequestError
from ..protocol.methods import SUBSCRIPTION_METHODS
from ..protocol.pending import Call
from ..session.supervisor import Supervisor
from .failures import dump_error, lost
from .keys import CONSUMER, GROUP, Keys
from .lease import Lease
from .messages import (
    CONNECT,
    MAX_BYTES,
    Assembler,
    CallMessage,
    Forged,
    Reply,
    Seal,
    is_timely,
    unpack,
)
from .publisher import Publisher
from .seen import KEPT_IDS, Seen
from .store import RedisDown, Store
from .threads import Flag, FleetThread

log = logging.getLogger("gwsync.fleet")
IN_FLIGHT = 400  # taken from the stream and not answered: twice what the link has at once
BLOCK_S = 0.2
LOOK_BACK_S = 2.0

Entries = list[tuple[bytes, dict[bytes, bytes]]]


class Serving:
    """Of one term, on a thread of its own until :meth:`stop`. ``show`` is called on the hub
    thread when workers, or the next owner, have to hear how things stand; ``connect`` when
    one of them wants a parked link tried again."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        seal: Seal,
        lease: Lease,
        publisher: Publisher,
        supervisor: Supervisor,
        show: Callable[[], None],
        connect: Callable[[], None],
    ) -> None:
        self._store, self._keys, self._seal, self._lease = store, keys, seal, lease
        self._publisher, self._supervisor = publisher, supervisor
        self._show, self._connect = show, connect
        self._seen = Seen()
        self._sent_back: dict[str, None] = {}  # calls that nobody performed, in order
        self.running: dict[str, tuple[Call, CallMessage, list[bytes]]] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._look_back_at = time.monotonic() + LOOK_BACK_S
        self.refused = self.performed = 0
        self.paused = False  # it takes no more calls, once it is resting
        self._resting = False
        self._stop = Flag()
        self.thread = FleetThread(self._serve, self.stop)

    def stop(self) -> None:
        self._stop.raise_()

    @property
    def is_drained(self) -> bool:
        return self._resting and not self.running

    @property
    def has_delicate(self) -> bool:
        """Whether a call is under way that another owner could not send again."""
        return any(not message.repeatable for _, message, _ in list(self.running.values()))

    def _serve(self) -> None:
        store, parts = self._store, Assembler(self._seal, self._keys.calls)
        since: bytes | str = "0"  # first what the former owner had been given
        try:
            while not self._stop.is_up():
                since = self._look_back(since)
                try:
                    entries = self._read(store, since)
                except RedisDown:
                    parts = Assembler(self._seal, self._keys.calls)
                    since = "0"
                    self._stop.wait(BLOCK_S)
                    continue
                self._expire()
                if entries is None or not self._lease.holds():
                    continue  # what it took stays pending, for whoever owns the fleet
                for id, fields in entries:
                    self._take(parts, id, fields, inherited=since != ">")
                if since != ">":
                    since = entries[-1][0] if entries else ">"
        finally:
            store.close()

    def _look_back(self, since: bytes | str) -> bytes | str:
        """Now and then at all that is pending: a former owner that woke may have taken some."""
        now = time.monotonic()
        if since == ">" and now >= self._look_back_at:
            self._look_back_at = now + LOOK_BACK_S
            return "0"
        return since

    def _read(self, store: Store, since: bytes | str) -> Entries | None:
        """None: not now."""
        room = IN_FLIGHT - len(self.running)
        self._resting = self.paused
        if self.paused or not self._lease.holds() or (room <= 0 and since == ">"):
            self._stop.wait(0.01)
            return None
        key = self._keys.calls
        block = self._block_ms()
        with store.told():
            try:
                found = store.client.xreadgroup(
                    GROUP, CONSUMER, {key: since}, count=min(max(room, 1), 100), block=block
                )
            except Exception as error:
                if "NOGROUP" not in str(error):
                    raise
                self._make_group(store)
                # Redis is new, or forgot: who comes now has to hear how things stand
                self._supervisor.hub.call_soon(self._show)
                return []
        return list(found[0][1]) if found else []

    def _block_ms(self) -> int:
        left = BLOCK_S
        if self._deadlines:
            left = min(left, self._deadlines[0][0] - time.monotonic())
        return max(int(left * 1000), 1)

    def _make_group(self, store: Store) -> None:
        try:
            store.client.xgroup_create(self._keys.calls, GROUP, id="0", mkstream=True)
        except Exception as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _take(
        self, parts: Assembler, id: bytes, fields: dict[bytes, bytes] | None, inherited: bool
    ) -> None:
        if not fields:  # one that was withdrawn after it had been given out
            return self._publisher.done([id])
        try:
            whole = parts.add(id, fields)
            message: CallMessage | None = None
            if whole is not None:
                message = unpack(whole[0], CallMessage)
        except Forged as error:
            self.refused += 1
            log.warning("refused: %s", error)
            return self._publisher.done([id])
        if whole is not None and message is not None:
            self._accept(message, whole[1], inherited)

    def _accept(self, message: CallMessage, ids: list[bytes], inherited: bool) -> None:
        publisher, fence = self._publisher, self._lease.fence
        running = self.running.get(message.id)
        if running is not None:
            if running[2] != ids:
                publisher.done(ids)  # it is under way under another entry
            return
        answer = self._seen.answer(message.id)
        if answer is not None:
            return publisher.resend(message.worker, answer, ids)
        fleet_now = self._lease.fleet_now()
        waited_s = max(fleet_now - message.at, 0.0)
        # its caller has given up, or somebody set a clock: the caller knows
        late = message.left_s is not None and waited_s >= message.left_s
        if message.ask and message.id in self._sent_back:
            return publisher.done(ids)  # it was told to send it anew, after it had asked
        if not message.repeatable and self._may_have_run(message, inherited):
            error = dump_error(lost(message.method, "the fleet's owner changed"))
            body = publisher.reply(message.worker, Reply(message.id, fence, error=error), ids)
            self._seen.admit(
                message.id, self._written_at(message)
            )  # whoever asks again hears the same
            self._seen.answered(message.id, body)
        elif (
            late
            or not is_timely(message.at, fleet_now)
            or not (message.repeatable or message.fence == fence)
        ):
            self._sent_back[message.id] = None
            while len(self._sent_back) > KEPT_IDS:
                del self._sent_back[next(iter(self._sent_back))]
            publisher.reply(message.worker, Reply(message.id, fence), ids)
        else:
            self._sent_back.pop(message.id, None)
            self._seen.admit(message.id, self._written_at(message))
            if message.method == CONNECT:
                publisher.reply(message.worker, Reply(message.id, fence, b"{}"), ids)
                return self._supervisor.hub.call_soon(self._connect)
            self._perform(message, ids, waited_s)

    def _may_have_run(self, message: CallMessage, inherited: bool) -> bool:
        """Whether somebody was given it before: one who asks, or answers, does not know."""
        if message.id in self._seen or message.ask:
            return True
        if message.fence != self._lease.fence:
            # Of what the former owner was given a Redis that was away may have lost the note.
            return inherited or not self._lease.unbroken
        return self._seen.may_have_had(self._written_at(message))

    def _written_at(self, message: CallMessage) -> float:
        """By our own clock: Redis's may be set."""
        return message.at - self._lease.clock_ahead_s

    def _perform(self, message: CallMessage, ids: list[bytes], waited_s: float) -> None:
        call = Call(
            message.method,
            message.params,
            final=message.final,
            reads=message.reads,
            keyed=message.keyed,
            traceparent=message.traceparent,
            done=lambda: self._settled(message.id),
        )
        now = time.monotonic()
        if message.age_s:
            call.first_sent_at = now - message.age_s
        if message.left_s is not None:
            call.deadline = now + message.left_s - waited_s
            heappush(self._deadlines, (call.deadline, message.id))
        self.running[message.id] = call, message, ids
        self.performed += 1
        self._supervisor.submit([call])

    def _settled(self, id: str) -> None:
        """Any thread; once for each."""
        call, message, ids = self.running.pop(id, (None, None, []))
        if call is None or message is None:
            return
        result = call.result
        reply = Reply(id, self._lease.fence)
        if isinstance(result, GatewayError):
            holds = self._lease.holds()
            # what the gateway said stands; else nobody has answered, perhaps because we end
            ends = (self._stop.is_up() or not holds) and not isinstance(result, RequestError)
            did_not_run = result.outcome in ("not_sent", "rejected")  # or: it was busy before
            if ends and (message.repeatable or (did_not_run and not holds)):
                return  # its turn comes with the next owner: the entry stays
            if not (ends and did_not_run):
                if isinstance(result, ConnectionClosed):  # that was ours; the caller's is open
                    result = lost(message.method, "the fleet's owner changed")
                reply.error = dump_error(result)
        else:
            reply.payload = bytes(memoryview(result)) if result is not None else b""
            wrong = _wrong_with(reply.payload)
            if wrong:
                error = ProtocolError(f"the answer to {message.method} {wrong}")
                error.outcome = "maybe"
                reply = Reply(id, self._lease.fence, error=dump_error(error))
        if message.method in SUBSCRIPTION_METHODS and reply.error is None:
            self._supervisor.hub.call_soon(self._show)
        body = self._publisher.reply(message.worker, reply, ids)
        self._seen.answered(id, body)

    def _expire(self) -> None:
        """Calls whose callers have given up."""
        now = time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, id = heappop(self._deadlines)
            entry = self.running.pop(id, None)
            if entry is not None and entry[0].give_up() is not None:
                self._supervisor.abandon([entry[0]])
                self._publisher.done(entry[2])


def _wrong_with(payload: bytes) -> str | None:
    if len(payload) > MAX_BYTES:
        return f"is of {len(payload)} bytes, more than the {MAX_BYTES} that a fleet carries"
    try:
        payload.decode()
    except UnicodeDecodeError:
        return "is no UTF-8"
    return None
