"""LocalGateway: a gateway of one's own, for demos and tests.

A wire-level OpenClaw gateway (protocol 4, as 2026.9.6 behaves) on loopback. It
runs in a native thread with a gevent hub of its own, so it serves the same in a
plain process, in a gevent-patched one and beside a busy main thread. Every
method here may be called from any thread or greenlet.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import gevent

from . import methods
from .admission import Rules
from .core import Core
from .options import Options, Phase
from .replay import Replay
from .views import GatewayViews
from .wire import dumps

_UNSET: Any = object()


class LocalGateway(GatewayViews):
    """An OpenClaw gateway on loopback, in this process.

    ::

        with LocalGateway() as gateway:
            connection = gwsync.Connection(gwsync.Config(url=gateway.url, token=gateway.token))

    ``auth`` is ``"token"``, ``"password"`` or ``"none"``; a token is made up when none
    is given. New devices are paired at once unless ``auto_pair`` is False.
    ``auth_delay`` answers wrong credentials as late as the real gateway does.
    ``chat_completions``: whether /v1/chat/completions is there; the real one's default is no.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        auth: str = "token",
        token: str | None = None,
        password: str | None = None,
        auto_pair: bool = True,
        tick_interval: float = 30.0,
        health_interval: float = 60.0,
        ping_interval: float = 25.0,
        handshake_timeout: float = 15.0,
        max_payload: int = 26_214_400,
        auth_delay: bool = False,
        chat_completions: bool = True,
    ) -> None:
        if auth not in ("token", "password", "none"):
            raise ValueError(f"auth must be 'token', 'password' or 'none', not {auth!r}")
        self.token = secrets.token_urlsafe(24) if token is None else token
        self.password = secrets.token_urlsafe(24) if password is None else password
        self._script: Replay | None = None
        self._rules = Rules(auth, self.token, self.password, auto_pair)
        super().__init__(
            Options(
                host,
                port,
                tick_interval,
                health_interval,
                ping_interval,
                handshake_timeout,
                max_payload,
                auth_delay,
                chat_completions,
            )
        )

    @classmethod
    def replay(
        cls, recording: str | os.PathLike[str], *, speed: float = 0.0, **options: Any
    ) -> LocalGateway:
        """A gateway that plays a recording of ``gwsync record`` back. Not started yet.

        Whoever asks what was asked then (the same methods, each in its order) is answered
        as then, and hears the events that came then; everything else is answered as by any
        LocalGateway. ``speed``: 1 with the pauses of the recording, 2 twice as fast, 0
        without any. ``options`` are those of LocalGateway. Raises ValueError for a file
        that is no recording.
        """
        gateway = cls(**options)
        gateway._script = Replay(recording, speed)
        return gateway

    # -- life -------------------------------------------------------------------
    def start(self) -> LocalGateway:
        """Listen; returns when clients can connect. A second call does nothing."""
        if self._core is not None:
            if self._hub is None:
                raise RuntimeError("a stopped gateway stays stopped; make another, or restart() it")
            return self
        if not _installed("cryptography"):  # imported late, when a device proves its key
            raise ImportError("LocalGateway needs cryptography: pip install 'gwsync[testing]'")
        self._core = Core(
            self._start_hub("gwsync-local-gateway"), self._options, self._rules, self._changed
        )
        self._core.script = self._script
        try:
            self._on_hub(self._core.start)
        except BaseException:
            self.stop()
            self._core = None
            raise
        return self

    def stop(self) -> None:
        """Announce the end, close every connection and the listener. Idempotent, at most 2 s."""
        if self._core is not None:
            self._stop_hub(self._core.shut)

    def __enter__(self) -> LocalGateway:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # -- events -----------------------------------------------------------------
    def push(
        self,
        event: str,
        payload: Any = None,
        *,
        state_version: Any = None,
        skip_seq: int = 0,
        numbered: bool = True,
    ) -> int:
        """Send an event to every connection whose scopes allow it; how many those are.

        ``skip_seq`` leaves that many sequence numbers out first, as the real gateway
        does when it dropped events for a slow reader. ``numbered=False`` sends no seq.
        """
        core = self._need()
        return self._on_hub(
            core.broadcast, event, dumps(payload), state_version, skip_seq, numbered
        )

    def push_many(self, event: str, payloads: Iterable[Any], *, timeout: float = 60.0) -> int:
        """Push a flood: encoded ahead, written in big pieces; returns when all is written."""
        core = self._need()
        encoded = [one if isinstance(one, bytes) else dumps(one) for one in payloads]
        return self._in_greenlet(timeout, core.flood, event, encoded)

    def push_raw(self, data: str | bytes, *, kind: str = "text") -> None:
        """Send bytes that may break any rule: a ``text`` or ``binary`` frame, or bare ``tcp``."""
        core = self._need()
        raw = data.encode() if isinstance(data, str) else data

        def send() -> None:
            for peer in list(core.peers):
                if peer.open:
                    peer.send_raw(raw, kind)

        self._on_hub(send)

    def push_health(self) -> None:
        """Send a health event now, with the next health version."""
        self._on_hub(self._need().push_health)

    def log(self, message: str, *, level: str = "INFO") -> None:
        """Write a line to the log that ``logs.tail`` reads."""
        self._on_hub(self._need().log.write, message, level)

    def rotate_log(self) -> None:
        """Begin the log anew: readers are told so."""
        self._on_hub(self._need().log.rotate)

    # -- ends of connections ----------------------------------------------------
    def drop(self) -> int:
        """Reset every connection at once (RST, no close frame); how many those were."""
        return self._on_hub(self._need().drop)

    def close_all(self, code: int = 1000, reason: str = "") -> int:
        """Close every connection with this code; how many those were."""
        return self._on_hub(self._need().close_all, code, reason)

    def restart(
        self,
        expected_ms: int = 1500,
        *,
        closing_for: float = 0.0,
        down_for: float | None = 0.1,
        starting_for: float = 0.0,
        drain: bool = False,
        wait: bool = True,
    ) -> None:
        """Restart as the real one does: shutdown event, close 1012, a while of nothing, a new boot.

        Upgrades get 503 for ``closing_for`` seconds, connecting is refused for ``down_for``
        (None: until :meth:`resume`), ``connect`` is answered 1013 for ``starting_for``.
        ``drain`` waits for running turns first; otherwise they go on across the restart.
        ``wait=False`` returns at once. Pairings, sessions and the port are kept.
        """
        core = self._need()
        shutdown = {"reason": "gateway restarting", "restartExpectedMs": expected_ms}
        core.restarting = True

        def restart() -> None:
            if drain:
                for run in list(core.chat.runs.values()):
                    run.done.wait()
            core.go_down(shutdown, closing_for)
            if down_for is not None:
                gevent.sleep(down_for)
                core.come_back(starting_for)

        if wait:
            self._in_greenlet(None, restart)
        elif self._hub is not None:
            self._hub.spawn(restart)

    def resume(self, *, starting_for: float = 0.0) -> None:
        """End a ``restart(down_for=None)``: listen again under a new boot id.

        Waits until that restart has everybody out. RuntimeError: there was none.
        """
        self._in_greenlet(None, self._need().come_back, starting_for)

    def set_phase(self, phase: str) -> None:
        """``closing``: upgrades get 503; ``starting``: connect gets 1013; ``accepting``."""
        wanted = Phase(phase)
        if wanted not in (Phase.ACCEPTING, Phase.CLOSING, Phase.STARTING):
            raise ValueError("use restart() or stop() to stop listening")
        self._on_hub(self._need().set_phase, wanted)

    def change_token(self, token: str) -> None:
        """A new shared token: live connections are closed with 4001, the old token fails."""
        core = self._need()

        def change() -> None:
            core.rules = replace(core.rules, token=token)
            self.token = token
            core.close_all(4001, "gateway auth changed")

        self._on_hub(change)

    def approve(self, request_id: str) -> None:
        """Approve a pairing request, as ``openclaw devices approve`` does."""
        self._on_hub(self._need().devices.approve, request_id)

    # -- methods of the test's own ----------------------------------------------
    def on_method(
        self,
        name: str,
        handler: Callable[[Any], Any],
        *,
        scope: str | None = _UNSET,
        inline: bool = False,
    ) -> None:
        """Serve ``name`` with ``handler(params) -> payload``; it may raise GatewayRefusal.

        It runs on a worker thread, so it may block and may call this gateway;
        ``inline=True`` runs it on the gateway's own thread, faster, and it must not block.
        ``scope`` is what callers need: by default the real method's, else operator.read.
        """
        core = self._need()
        needed = methods.default_scope(name) if scope is _UNSET else scope
        method = methods.custom(core, name, handler, needed, inline)
        self._on_hub(core.custom.__setitem__, name, method)

    def on_tool(self, name: str, handler: Callable[[Any], Any]) -> None:
        """Serve the tool ``name`` at /tools/invoke with ``handler(args) -> details``.

        It runs on a worker thread; what it raises is the tool's error.
        """
        core = self._need()
        self._on_hub(core.tools.__setitem__, name, handler)

    def hold(self, method: str, *, answer_only: bool = False) -> None:
        """Keep requests to ``method`` (also ``connect``) waiting until :meth:`release`.

        ``answer_only`` carries them out and keeps only their answers back.
        """
        core = self._need()
        self._on_hub(lambda: core.holds.hold(method, answer_only=answer_only))

    def release(self, method: str | None = None) -> int:
        """Let held requests go on, in order; how many those were. None: of all methods."""
        return self._on_hub(self._need().release, method)

    def held(self, method: str) -> int:
        """How many requests to ``method`` are waiting for :meth:`release`."""
        return self._need().holds.count(method)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
