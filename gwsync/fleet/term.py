"""One term of an owner: from the lease it got to the lease it lost, with one gateway link.

Calls come from the stream and are lines in an ordinary Connection's line, bounded in flight;
their ends and the gateway's pushes go to the publisher. Nothing here blocks the hub thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from ..config import Config
from ..errors import ConnectionClosed, GatewayError, ProtocolError
from ..protocol.methods import SUBSCRIPTION_METHODS
from ..protocol.pending import Call
from ..session.waiting import Demand
from ..transport.dial import Dial
from ..values import Hello, Push, Snapshot, StateChange
from .failures import dump_error, lost
from .keys import CONSUMER, GROUP, Keys
from .lease import Lease, sleepless
from .messages import (
    CONNECT,
    KEPT_IDS,
    Aside,
    Assembler,
    CallMessage,
    Capable,
    Forged,
    Reply,
    Seal,
    Seen,
    Trouble,
    View,
    dump_hello,
    is_timely,
    unpack,
)
from .publisher import Publisher
from .seam import MakesWay, Seam, Tap
from .store import RedisDown, Store
from .threads import Flag, FleetThread
from .upstream import Asked, Upstream

log = logging.getLogger("gwsync.fleet")
IN_FLIGHT = 400  # taken from the stream and not answered: twice what the link has at once
BLOCK_S = 0.2
LOOK_BACK_S = 2.0
VIEW_EVERY_S = 1.0  # how often presence and health make a new snapshot for those who come late

Entries = list[tuple[bytes, dict[bytes, bytes]]]


class Term(MakesWay):
    """Serves until :meth:`end`."""

    def __init__(
        self,
        config: Config,
        dial: Dial,
        stores: Callable[[], Store],
        keys: Keys,
        seal: Seal,
        lease: Lease,
        asked: Mapping[str, Any] | None = None,
        inherited: Asked = (),
        *,
        prepared: bool = False,  # it only makes its link, until it takes over
    ) -> None:
        self._keys, self._seal, self._lease = keys, seal, lease
        self._seen = Seen()
        self._sent_back: dict[str, None] = {}  # calls that nobody performed, in order
        self._running: dict[str, tuple[Call, CallMessage, list[bytes]]] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._stop = Flag()
        self._view_at = 0.0
        self._look_back_at = time.monotonic() + LOOK_BACK_S
        self._change = StateChange("connecting")
        self.refused = self.performed = 0
        self._ended = self._paused = self._resting = False
        self._reason = ""
        self._stores = stores
        self._seam = Seam(held=prepared)
        self.upstream = Upstream(config, dial, lease, asked, inherited)
        self._supervisor = self.upstream.supervisor
        self.connection = self.upstream.connection
        self.is_serving = False
        if not prepared:
            self._serve_all()
        self._supervisor.add(Tap(self._pushed), False)

    def _serve_all(self) -> None:
        lease = self._lease
        self._store = self._stores()
        self.publisher = Publisher(
            self._stores(),
            self._keys,
            self._seal,
            lease.value,
            lease.fence,
            lease.first,
            lease.holds,
        )
        self.thread = FleetThread(self._serve, self._stop.raise_)
        self.is_serving = True

    @property
    def in_flight(self) -> int:
        return len(self._running)

    def end(
        self, reason: str = "the fleet's owner left", wait_s: float = 2.0
    ) -> list[bytes] | None:
        """Close the link, then publish what is left. From any thread but its own.

        Returns what was published since it was muted; None if not all of it was."""
        if self._ended:
            return None
        self._ended, self._reason = True, reason
        self._stop.raise_()
        self.upstream.hang_up()
        if not self.is_serving:
            return None
        self.thread.join(wait_s)
        self.publisher.stop()
        self.publisher.thread.join(wait_s)
        return (self._seam.recorded or []) if self.publisher.flushed else None

    # -- pushes: hub thread ------------------------------------------------------------------
    def _pushed(self, pushes: Sequence[Push]) -> None:
        view = None
        if self._seam.takes(pushes):
            return
        if any(isinstance(push, StateChange) and push.state == "closed" for push in pushes):
            pushes = [StateChange("waiting", self._reason)]
        told: list[Push | Aside] = []
        for push in pushes:
            if isinstance(push, StateChange):
                self._change = push
                error = self._supervisor.last_error
                broke = push.state in ("waiting", "parked") and self._lease.holds()
                if broke and error is not None:  # else it is the lease's end, and nobody's error
                    told.append(Trouble(dump_error(error)))
            elif isinstance(push, Snapshot):
                told.append(Capable(list(self._supervisor.config.caps)))
            told.append(push)
        now = time.monotonic()
        marked = any(isinstance(push, (StateChange, Snapshot)) for push in pushes)
        if marked or (
            now - self._view_at >= VIEW_EVERY_S
            and any(push.name in ("presence", "health") for push in pushes)
        ):
            self._view_at = now
            view = self._view()
        self.publisher.push(told, view)

    def _show(self) -> None:
        self.publisher.push((), self._view())

    def _view(self) -> View:
        supervisor, change = self._supervisor, self._change
        error = supervisor.last_error if change.state != "connected" else None
        hello = self._hello() if change.state == "connected" else None
        return View(
            fence=self._lease.fence,
            next=0,
            state=change.state,
            reason=change.reason,
            error=dump_error(error) if error is not None else None,
            hello=dump_hello(hello) if hello is not None else None,
            caps=list(supervisor.config.caps),
            asked=supervisor.remembered.held,
        )

    def _hello(self) -> Hello | None:
        """With the snapshot as it is now."""
        conversation = self._supervisor.calls.conversation
        if conversation is not None and conversation.snapshot is not None:
            return conversation.snapshot.hello()
        return self._supervisor.hello

    def _asked_for(self) -> None:
        """Workers asked for, or against, what is pushed: the next owner must know."""
        self.publisher.push([], self._view())

    def _connect_again(self) -> None:
        """Somebody's connect(): what made it park may have been put right."""
        supervisor = self._supervisor
        if supervisor.state == "parked":
            supervisor._demand(Demand(lambda: None), True)
            supervisor._add(Tap(self._pushed), False)  # the former ended with that state

    # -- calls: its own thread ------------------------------------------------------------------
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
        room = IN_FLIGHT - len(self._running)
        self._resting = self._paused
        if self._paused or not self._lease.holds() or (room <= 0 and since == ">"):
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
            return self.publisher.done([id])
        try:
            whole = parts.add(id, fields)
            message: CallMessage | None = None
            if whole is not None:
                message = unpack(whole[0], CallMessage)
        except Forged as error:
            self.refused += 1
            log.warning("refused: %s", error)
            return self.publisher.done([id])
        if whole is not None and message is not None:
            self._accept(message, whole[1], inherited)

    def _accept(self, message: CallMessage, ids: list[bytes], inherited: bool) -> None:
        publisher, fence = self.publisher, self._lease.fence
        running = self._running.get(message.id)
        if running is not None:
            if running[2] != ids:
                publisher.done(ids)  # it is under way under another entry
            return
        seen = message.id in self._seen
        answer = self._seen.answer(message.id) if seen else None
        if answer is not None:
            return publisher.resend(message.worker, answer, ids)
        fleet_now = sleepless() + self._lease.clock_ahead_s
        waited_s = max(fleet_now - message.at, 0.0)
        # its caller has given up, or somebody set a clock: the caller knows
        late = message.left_s is not None and waited_s >= message.left_s
        if message.ask and not seen and message.id in self._sent_back:
            return publisher.done(ids)  # it was told to send it anew, after it had asked
        handed = seen or message.ask or (inherited and message.fence != fence)
        if handed and not message.repeatable:
            error = dump_error(lost(message.method, "the fleet's owner changed"))
            publisher.reply(message.worker, Reply(message.id, fence, error=error), ids)
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
            self._seen.admit(message.id, time.monotonic())
            if message.method == CONNECT:
                publisher.reply(message.worker, Reply(message.id, fence, b"{}"), ids)
                return self._supervisor.hub.call_soon(self._connect_again)
            self._perform(message, ids, waited_s)

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
        self._running[message.id] = call, message, ids
        self.performed += 1
        self._supervisor.submit([call])

    def _settled(self, id: str) -> None:
        """Any thread; once for each."""
        call, message, ids = self._running.pop(id, (None, None, []))
        if call is None or message is None:
            return
        result = call.result
        reply = Reply(id, self._lease.fence)
        if isinstance(result, GatewayError):
            holds = self._lease.holds()
            ends = self._stop.is_up() or not holds
            if ends and message.repeatable and result.outcome != "rejected":
                return  # its turn comes with the next owner: the entry stays
            if ends and result.outcome == "not_sent":
                if not holds:
                    return  # the next owner has it already
            else:
                if isinstance(result, ConnectionClosed):  # that was ours; the caller's is open
                    result = lost(message.method, "the fleet's owner changed")
                reply.error = dump_error(result)
        else:
            reply.payload = bytes(memoryview(result)) if result is not None else b""
            if not _is_utf8(reply.payload):
                error = ProtocolError(f"the answer to {message.method} is no UTF-8")
                reply = Reply(id, self._lease.fence, error=dump_error(error))
        if message.method in SUBSCRIPTION_METHODS and reply.error is None:
            self._supervisor.hub.call_soon(self._asked_for)
        body = self.publisher.reply(message.worker, reply, ids)
        self._seen.answered(id, body)

    def _expire(self) -> None:
        """Calls whose callers have given up."""
        now = time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, id = heappop(self._deadlines)
            entry = self._running.pop(id, None)
            if entry is not None and entry[0].give_up() is not None:
                self._supervisor.abandon([entry[0]])
                self.publisher.done(entry[2])


def _is_utf8(payload: Any) -> bool:
    try:
        bytes(payload).decode()
    except UnicodeDecodeError:
        return False
    return True
