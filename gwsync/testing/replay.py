"""A recorded conversation, played back: who asks the same is answered the same.

The recording (``gwsync record``) is taken apart into its requests; each has its answers and
the events that came until the next request. A client's request takes the first recorded one of
its method that is left, and gets what belongs to it; the last one stays for further calls.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from .peer import Peer
from .wire import dumps, event_head

if TYPE_CHECKING:
    from .core import Core

Row = dict[str, Any]
SHAPE = ("protocol", "server", "features", "snapshot", "policy")  # what hello takes from it


@dataclass
class Exchange:
    """A request of the recording, and what followed: seconds after it, and the row."""

    at: float
    id: str = ""
    params: Any = None
    rows: list[tuple[float, Row]] = field(default_factory=list)


class Replay:
    """A recording, and how far it was played. ``speed``: 1 as it was, 0 without waiting."""

    def __init__(self, path: str | os.PathLike[str], speed: float = 0.0) -> None:
        self.hello: Row = {}
        self._pace = 1 / speed if speed else 0.0
        self._opening = Exchange(0.0)
        self._left: dict[str, list[Exchange]] = defaultdict(list)
        self._read(list(_rows(Path(path))))

    def _read(self, rows: list[Row]) -> None:
        current, asked, connect = self._opening, {}, ""
        for row in rows:
            frame, at = row["frame"], float(row["t"])
            if row["dir"] == "out" and frame.get("type") == "req":
                if frame["method"] == "connect":
                    connect = frame["id"]
                    continue
                current = Exchange(at, frame["id"], frame.get("params"))
                asked[frame["id"]] = current
                self._left[frame["method"]].append(current)
            elif row["dir"] == "in" and frame.get("type") == "res":
                if frame["id"] == connect:
                    self.hello = self.hello or (frame.get("payload") or {})
                    self._opening.at = self._opening.at or at
                elif frame["id"] in asked:
                    exchange = asked[frame["id"]]
                    exchange.rows.append((at - exchange.at, row))
            elif (row["dir"] == "in" and frame.get("event") not in (None, "connect.challenge")) or (
                row["dir"] == "close"
            ):
                current.rows.append((at - current.at, row))
        if not self.hello and not self._left:
            raise ValueError("the recording has no conversation in it")

    # -- on the hub thread ----------------------------------------------------------------
    def dress(self, hello: Row) -> Row:
        """What the recorded gateway said of itself, over what this one says."""
        said = {name: self.hello[name] for name in SHAPE if name in self.hello}
        if "server" in said:
            said["server"] = {**hello["server"], **_without(said["server"], "connId", "bootId")}
        return {**hello, **said}

    def opened(self, core: Core, peer: Peer) -> None:
        """Events that came before anything was asked."""
        opening, self._opening = self._opening, Exchange(0.0)
        self._play(core, peer, opening, "", {})

    def answers(self, core: Core, peer: Peer, request_id: str, method: str, params: Any) -> bool:
        """Whether the recording has such a request; then what belongs to it is under way."""
        left = self._left.get(method)
        if not left:
            return False
        exchange = left.pop(0) if len(left) > 1 else left[0]
        self._play(core, peer, exchange, request_id, _renamed(exchange.params, params))
        if left == [exchange]:  # asked again, it is answered again; its events were once
            answers = [one for one in exchange.rows if one[1]["frame"].get("type") == "res"]
            left[0] = Exchange(exchange.at, exchange.id, exchange.params, answers)
        return True

    def _play(
        self, core: Core, peer: Peer, exchange: Exchange, request_id: str, names: dict[str, str]
    ) -> None:
        def play() -> None:
            waited = 0.0
            for after, row in exchange.rows:
                if self._pace and after * self._pace > waited:
                    gevent.sleep(after * self._pace - waited)
                    waited = after * self._pace
                self._send(core, peer, row["dir"], _replaced(row["frame"], names), request_id)

        core.tasks.spawn(play)

    @staticmethod
    def _send(core: Core, peer: Peer, way: str, frame: Row, request_id: str) -> None:
        if way == "close":
            code = int(frame.get("code") or 1006)
            if code in (1005, 1006):
                peer.outbox.drained.wait()  # nor by a reset: it would overtake what was said
                peer.finish()
            else:
                peer.close(code, frame.get("reason") or "")
        elif frame.get("type") == "res":
            peer.send_json({**frame, "id": request_id})
        elif frame.get("event") != "tick":  # this gateway has its own
            payload = dumps(frame.get("payload"))
            numbered = frame.get("seq") is not None
            peer.send_event(
                event_head(frame["event"], payload), frame.get("stateVersion"), 0, numbered
            )


def _rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if not isinstance(row["frame"], dict):
                raise TypeError("no frame")
            yield {"t": float(row["t"]), "dir": row["dir"], "frame": row["frame"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number} is no recorded frame: {error}") from None


def _renamed(recorded: Any, given: Any) -> dict[str, str]:
    """Names that another run makes up anew: the idempotency key, which is the run's id too."""
    if not isinstance(recorded, dict) or not isinstance(given, dict):
        return {}
    old, new = recorded.get("idempotencyKey"), given.get("idempotencyKey")
    return {old: new} if isinstance(old, str) and isinstance(new, str) else {}


def _replaced(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, names) for inner in value]
    if isinstance(value, str) and names:
        for old, new in names.items():
            value = value.replace(old, new)
    return value


def _without(value: Row, *names: str) -> Row:
    return {key: inner for key, inner in value.items() if key not in names}
