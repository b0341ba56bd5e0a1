"""What doctor found out, as values. Nothing in them is secret: every text was masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..config import Config
from ..values import StageRecord, Trace
from ..version import VERSION
from .findings import TABLE

Clean = Callable[[str], str]
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_SECRET_SETTINGS = ("token", "password", "device_token", "fleet_secret", "redis_password")


@dataclass(frozen=True)
class Path:
    """One of the ways that ``--compare`` tried."""

    name: str
    finding: str
    took_s: float
    detail: str

    @property
    def ok(self) -> bool:
        return self.finding == "OK"


@dataclass(frozen=True)
class Sockets:
    """The TCP connections that one process has to the gateway's port; pid None: not to be seen."""

    pid: int | None
    name: str
    connections: int
    states: Mapping[str, int]


@dataclass(frozen=True)
class Report:
    """``stage`` is the first that failed; ``config`` says where each setting came from."""

    finding: str
    stage: str | None
    message: str
    hint: str
    trace: Trace
    url: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    paths: tuple[Path, ...] | None = None
    pick: str | None = None
    sockets: tuple[Sockets, ...] | None = None

    @property
    def ok(self) -> bool:
        return self.finding == "OK"

    @property
    def exit_code(self) -> int:
        return TABLE[self.finding].exit_code

    @property
    def failed(self) -> StageRecord | None:
        """The record of ``stage``: the last one of that name that failed."""
        failed = [one for one in self.trace.stages if one.stage == self.stage and not one.ok]
        return failed[-1] if failed else None

    def as_json(self) -> dict[str, Any]:
        """As report.schema.json describes it."""
        shown: dict[str, Any] = {
            "ok": self.ok,
            "finding": self.finding,
            "stage": self.stage,
            "message": self.message,
            "hint": self.hint,
            "took_ms": _ms(self.trace.elapsed_s),
            "url": self.url,
            "gwsync": VERSION,
            "stages": [self._stage(one) for one in self.trace.stages],
            "config": dict(self.config),
            "notes": list(self.notes),
        }
        if self.paths is not None:
            shown["paths"] = [
                {
                    "name": one.name,
                    "ok": one.ok,
                    "finding": one.finding,
                    "took_ms": _ms(one.took_s),
                    "detail": one.detail,
                }
                for one in self.paths
            ]
        if self.pick is not None:
            shown["pick"] = self.pick
        if self.sockets is not None:
            shown["sockets"] = [
                {
                    "pid": one.pid,
                    "name": one.name,
                    "connections": one.connections,
                    "states": dict(one.states),
                }
                for one in self.sockets
            ]
        return shown

    def _stage(self, record: StageRecord) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "name": record.stage,
            "ok": record.ok,
            "took_ms": _ms(record.elapsed_s),
            "detail": record.detail,
        }
        if record is self.failed:
            shown["finding"] = self.finding
        return shown


def _ms(seconds: float) -> float:
    return round(max(seconds, 0.0) * 1000, 2)


def cleaner(config: Config) -> Clean:
    """A function that takes every credential of ``config`` out of a text."""
    secrets = {getattr(config, name) for name in _SECRET_SETTINGS}
    secrets |= {value for _, value in config.headers}
    if config.fleet is None and config.proxy_url is not None:
        secrets.add(config.proxy_url.password)
    # The longest first: one may be part of another.
    known = sorted((one for one in secrets if one), key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "***")
        return _USERINFO.sub("***@", text)

    return clean


def cleaned(trace: Trace, url: str, clean: Clean) -> Trace:
    """The trace as it can be shown to anybody."""
    stages = tuple(replace(one, detail=clean(one.detail)) for one in trace.stages)
    return Trace(url, stages)


def without_query(url: str) -> str:
    return url.partition("?")[0]


def failed_before_any_io(message: str, hint: str, config: Mapping[str, str]) -> Report:
    """The settings themselves cannot be read."""
    shown = _USERINFO.sub("***@", message)
    trace = Trace("", (StageRecord("config", 0.0, 0.0, False, shown),))
    return Report("CONFIG_INVALID", "config", shown, hint, trace, config=config)


def distinct(notes: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for note in notes if note))
