"""A fleet, examined from a worker's place: Redis, the owner, and what the owner tells."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import median

from ..config import Config
from ..connection import Connection
from ..errors import ConfigError, DialError, GatewayError, HandshakeError
from ..fleet.failures import load_error
from ..fleet.keys import Keys
from ..fleet.look import look
from ..fleet.messages import Forged, Seal, View
from ..fleet.store import RedisDown
from ..fleet.views import read_view
from ..transport.trace import Tracer
from .budget import Budget
from .explain import Conclusion
from .findings import TABLE
from .redis_way import RedisWay, Stopped, stop
from .report import Report, cleaned, cleaner, distinct, without_query

REQUESTS = 10
BEHIND = 1000  # pushes; a worker that far behind is worth a note
SKEW_S = 30.0


class FleetExamination:
    """Run once, in its caller's thread; read afterwards."""

    def __init__(self, config: Config, timeout: float) -> None:
        # an elected worker must not become the owner by asking
        self._config = replace(config, owner=None)
        self._budget = Budget(timeout)
        self._tracer = Tracer(config.url)
        self._keys = Keys(config.fleet or "")
        self._notes: list[str] = []
        self._conclusion: Conclusion | None = None
        self._where = ""

    def run(self) -> FleetExamination:
        try:
            self._run()
        except Stopped as stopped:
            self._conclusion = stopped.conclusion
        except ConfigError as error:  # no redis-py, or a url that it cannot read
            self._conclusion = Conclusion(
                "CONFIG_INVALID", "config", message=error.message, hint=error.hint
            )
            stages = self._tracer.trace.stages
            if stages and not stages[-1].ok:
                self._conclusion = replace(self._conclusion, stage=stages[-1].stage)
        return self

    def report(self, sources: Mapping[str, str]) -> Report:
        clean = cleaner(self._config)
        url = clean(without_query(self._config.url))
        trace = cleaned(self._tracer.trace, url, clean)
        notes, found = distinct(self._notes), self._conclusion
        if found is None:
            message, hint = TABLE["OK"].told({})
            return Report("OK", None, message, hint, trace, url, dict(sources), notes)
        host = self._where.rpartition(":")[0] or self._where
        facts = {"target": self._where, "host": host, "fleet": self._config.fleet or ""}
        message, hint = TABLE[found.name].told({**facts, "detail": found.detail})
        message, hint = clean(found.message or message), clean(found.hint or hint)
        stage = found.stage
        return Report(found.name, stage, message, hint, trace, url, dict(sources), notes)

    # -- its stages ----------------------------------------------------------------------
    def _run(self) -> None:
        way = RedisWay(self._config, self._budget, self._tracer)
        self._where = way.where
        with self._tracer.stage("config", "the settings, before any I/O") as note:
            secure = self._config.url.startswith(("rediss:", "unix:"))
            note.detail = f"fleet {self._config.fleet}, {'TLS' if secure else 'no TLS'}"
        if not secure and not _is_near(self._where):
            self._notes.append("redis:// is not encrypted: the network between can read payloads")
        try:
            way.walk()
            lease = self._owner(way)
            view = self._secret(way)
            self._clock(way)
            self._lag(way)
        finally:
            way.store.close()
        self._gateway(view, lease)
        self._answers()

    def _owner(self, way: RedisWay) -> int:
        """Its fencing number."""
        store, keys = way.store, self._keys
        with self._tracer.stage("owner", "who holds the lease?") as note:
            end = time.monotonic() + self._budget.of(1.0)  # the next one may be taking over
            while True:
                with way.refusals("owner"), store.told():
                    lease, ttl = store.client.get(keys.lease), store.client.pttl(keys.lease)
                    known = store.client.hgetall(keys.fence)
                if lease or time.monotonic() >= end:
                    break
                time.sleep(0.05)
            if not lease:
                raise stop("FLEET_NO_OWNER" if known.get(b"n") else "FLEET_UNKNOWN", "owner")
            name, _, fence = lease.decode(errors="replace").rpartition("|")
            age = max(int(known.get(b"ttl", b"0")) - max(ttl, 0), 0)
            note.detail = f"{name}, lease renewed {age} ms ago"
            return int(fence) if fence.isdigit() else 0

    def _secret(self, way: RedisWay) -> View | None:
        with self._tracer.stage("secret", "is the snapshot signed with it?") as note:
            seal = Seal(self._config.fleet_secret or "", self._config.fleet or "")
            try:
                with way.refusals("secret"):
                    view = read_view(way.store, self._keys, seal)
            except Forged:
                raise stop("FLEET_SECRET_WRONG", "secret", "signed with another one") from None
            note.detail = "yes" if view is not None else "there is no snapshot yet"
            return view

    def _clock(self, way: RedisWay) -> None:
        with self._tracer.stage("clock", "Redis's time") as note:
            with way.refusals("clock"), way.store.told():
                seconds, micros = way.store.client.time()
            skew = seconds + micros / 1e6 - time.time()
            word = "ahead of" if skew > 0 else "behind"
            note.detail = f"Redis is {abs(skew):.1f} s {word} this clock"
            if abs(skew) > SKEW_S:
                self._notes.append(f"{note.detail}; a fleet does not mind, logs will not agree")

    def _lag(self, way: RedisWay) -> None:
        """How far workers are behind. It counts keys, which an ACL may forbid to a worker."""
        with self._tracer.stage("lag", "workers and streams") as note:
            try:
                found = look(way.store, self._config.fleet or "")
            except RedisDown as error:
                note.detail = f"not to be seen: {error.message}"
                return
            workers, streams = found["workers"], found["streams"]
            most = max((one["lag"] for one in workers), default=0)
            note.detail = (
                f"{len(workers)} workers, at most {most} pushes behind; "
                f"{streams['calls']['entries']} calls wait"
            )
            if most >= BEHIND:
                slow = [one for one in workers if one["lag"] >= BEHIND]
                self._notes.append(
                    f"{len(slow)} workers are {BEHIND} pushes behind or more, "
                    f"{slow[0]['name']} at {slow[0]['host']} among them: they will be told Dropped"
                )

    def _gateway(self, view: View | None, fence: int) -> None:
        with self._tracer.stage("gateway", "what the owner says of it") as note:
            if view is None or view.fence != fence:
                note.detail = "the owner has not said anything yet"
                return
            if view.state != "connected":
                error = load_error(view.error) if view.error else None
                why = error.message if error else view.reason or view.state
                parked = view.state == "parked"
                name = "FLEET_GATEWAY_REFUSES" if parked else "FLEET_GATEWAY_DOWN"
                raise stop(name, "gateway", why, error.hint if error and parked else "")
            note.detail = "the owner's link is up"

    def _answers(self) -> None:
        """As a worker: through Redis, the owner and the gateway, and back."""
        took: list[float] = []
        with (
            self._tracer.stage("latency", f"{REQUESTS} requests") as note,
            Connection(self._config) as worker,
        ):
            try:
                while len(took) < REQUESTS:
                    began = time.monotonic()
                    worker.request("health", timeout=self._budget.of(1.5))
                    took.append(time.monotonic() - began)
            except HandshakeError as error:
                raise stop("FLEET_GATEWAY_REFUSES", "latency", error.message, error.hint) from None
            except GatewayError as error:
                gone = isinstance(error, DialError) and error.stage != RedisDown.stage
                name = "FLEET_GATEWAY_DOWN" if gone else "FLEET_NO_ANSWER"
                raise stop(name, "latency", error.message) from None
            note.detail = (
                f"{len(took)} x health, median {median(took) * 1000:.1f} ms, "
                f"first {took[0] * 1000:.1f} ms"
            )


def _is_near(where: str) -> bool:
    return where.startswith(("127.", "localhost", "[::1]", "/"))


def diagnose_fleet(config: Config, timeout: float, sources: Mapping[str, str]) -> Report:
    """What works on the way from a worker to its fleet, and what does not. Blocks."""
    return FleetExamination(config, timeout).run().report(sources)
