"""One session with a gateway, struck by a fault once, and what must be true of it afterwards."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gwsync
from conformance.tools import Log
from gwsync.testing import FaultProxy, LocalGateway

ROUNDS = 5  # of four requests each
AT_ONCE = gwsync.ReconnectPolicy(first=0, spread=0, multiplier=0, max=0)
PATIENCE_S = 60.0  # nothing takes that long; what does, hangs
READ = "gateway.identity.get"
EVENT = "note"

_cases = itertools.count()


@dataclass
class Result:
    """What a session saw."""

    asked: dict[str, str] = field(default_factory=dict)  # the method, by the request's id
    came: dict[str, Any] = field(default_factory=dict)  # a payload or an error, by that id
    pushes: list[Any] = field(default_factory=list)
    passed: dict[str, int] = field(default_factory=dict)  # bytes by direction, the end left out


class Stage:
    """A gateway and the proxy before it, for one session after another."""

    def __init__(self, state_dir: str) -> None:
        self.added: list[str] = []
        self.put: dict[str, str] = {}  # by idempotency key
        self.told: list[str] = []  # the events pushed, in order
        self._state_dir = state_dir
        self._opened = contextlib.ExitStack()
        self.gateway = LocalGateway()
        self.proxy = FaultProxy(self.gateway)

    def __enter__(self) -> Stage:
        with contextlib.ExitStack() as opened:
            opened.enter_context(self.gateway)
            opened.enter_context(self.proxy)
            for name, handler in (("note.add", self._add), ("note.put", self._put)):
                self.gateway.on_method(name, handler, scope="operator.write", inline=True)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    def _add(self, params: Any) -> Any:
        """A plain write: done as often as it is received."""
        self.added.append(params["id"])
        return self._done(params["id"])

    def _put(self, params: Any) -> Any:
        """A write with an idempotency key: done once, then answered from memory, as gateways do."""
        key = params["idempotencyKey"]
        if key in self.put:
            assert self.put[key] == params["id"]
            return {"id": params["id"]}
        self.put[key] = params["id"]
        return self._done(params["id"])

    def _done(self, name: str) -> Any:
        self.tell(name)
        return {"id": name}

    def tell(self, name: str) -> None:
        self.told.append(name)
        self.gateway.push(EVENT, {"id": name})

    # -- a session --------------------------------------------------------------
    def play(self, fault: Callable[[FaultProxy], None], **options: Any) -> Result:
        """Connect, twenty requests, their events; the fault, if it strikes, strikes once."""
        for kept in (self.added, self.put, self.told):
            kept.clear()
        result, log = Result(), Log()
        case = f"{next(_cases):06d}"
        proxy = self.proxy
        up, down = proxy.bytes_up, proxy.bytes_down
        fault(proxy)
        config = gwsync.Config(
            url=proxy.url,
            token=self.gateway.token,
            state_dir=self._state_dir,
            reconnect=AT_ONCE,
            request_timeout=PATIENCE_S,
            **options,
        )
        with gwsync.Connection(config) as connection:
            connection.subscribe(log)
            connection.connect(retry_for=PATIENCE_S)
            for number in range(ROUNDS):
                self._round(connection, result, f"{case}.{number}")
            result.passed = {"up": proxy.bytes_up - up, "down": proxy.bytes_down - down}
            proxy.heal()
            self._come_to_an_end(connection, log, case)
        result.pushes = log.pushes
        return result

    def _round(self, connection: gwsync.Connection, result: Result, name: str) -> None:
        requests: dict[str, tuple[str, dict[str, Any]]] = {}
        for place, method in enumerate((READ, "note.add", "note.put", "note.add")):
            params = {} if method == READ else {"id": f"{name}.{place}"}
            if method == "note.put":
                params["idempotencyKey"] = f"key-{name}"
            requests[f"{name}.{place}"] = (method, params)
            result.asked[f"{name}.{place}"] = method
        answers = connection.request_many(requests.values(), return_exceptions=True)
        result.came.update(zip(requests, answers, strict=True))

    def _come_to_an_end(self, connection: gwsync.Connection, log: Log, case: str) -> None:
        """Whatever is still under way has come when this last event has."""
        with contextlib.suppress(gwsync.ConnectionLost):
            connection.request(READ)
        connection.request(READ)
        last = f"{case}.end"
        self.tell(last)
        log.wait(lambda push: _told(push) == last, "the last event", timeout=PATIENCE_S)

    # -- what must be true ------------------------------------------------------
    def check(self, result: Result) -> None:
        """No answer lost without an error, nothing done twice, no event twice, losses announced."""
        assert result.came.keys() == result.asked.keys()
        times = Counter((*self.added, *self.put.values()))
        assert set(times.values()) <= {1}, f"done twice: {times.most_common(3)}"
        for name, method in result.asked.items():
            self._check_answer(method, name, result.came[name], times[name])
        self._check_events(result.pushes)

    def _check_answer(self, method: str, name: str, came: Any, times: int) -> None:
        if isinstance(came, gwsync.GatewayError):
            assert isinstance(came, gwsync.ConnectionLost), (name, came)
            assert came.outcome in ("maybe", "not_sent"), (name, came)
            assert method == "note.add", f"{name} ({method}) could have been sent again: {came!r}"
            assert not (came.outcome == "not_sent" and times), f"{name}: {came!r}, but it was done"
        elif method == READ:
            assert "deviceId" in came
        else:
            assert came == {"id": name}
            assert times == 1, f"{name} was answered, and done {times} times"

    def _check_events(self, pushes: list[Any]) -> None:
        heard = [(at, _told(push)) for at, push in enumerate(pushes) if _told(push)]
        names = [name for _, name in heard]
        assert len(names) == len(set(names)), "an event came twice"
        places = [self.told.index(name) for name in names]
        assert places == sorted(places), "events came out of order"
        before = -1
        since = 0
        for (at, name), place in zip(heard, places, strict=True):
            if place != before + 1:
                missed = self.told[before + 1 : place]
                assert announces(pushes[since:at]), f"{missed} before {name} were lost in silence"
            before, since = place, at


def announces(pushes: list[Any]) -> bool:
    """Whether these say that something may be missing."""
    gap = any(isinstance(push, gwsync.SeqGap) for push in pushes)
    down = [
        at
        for at, push in enumerate(pushes)
        if isinstance(push, gwsync.StateChange) and push.state not in ("connecting", "connected")
    ]
    return gap or bool(down and any(isinstance(p, gwsync.Snapshot) for p in pushes[down[0] :]))


def _told(push: Any) -> str | None:
    if isinstance(push, gwsync.Event) and push.name == EVENT:
        name: str = push.payload["id"]
        return name
    return None
