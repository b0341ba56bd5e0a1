"""One attempt: identity, dial and handshake under one deadline, ending in an open link."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import gevent

from .. import limits
from ..config import Config
from ..errors import AuthError, ConnectionLost, DialTimeout, HandshakeError
from ..identity import TokenStore, default_state_dir, entry_of, load_identity
from ..protocol.conversation import Conversation
from ..protocol.handshake import Accepted, Credentials, Handshake
from ..protocol.refusals import printable
from ..protocol.step import Step
from ..runtime import offload
from ..runtime.hub import HubThread
from ..transport.deadline import Deadline
from ..transport.dial import Dial
from ..transport.link import Link
from ..transport.trace import Tracer
from ..values import Push
from ..version import VERSION

log = logging.getLogger("gwsync.session")
T = TypeVar("T")
_SIGNATURE_EXPIRED = "DEVICE_AUTH_SIGNATURE_EXPIRED"
FLUSH_S = 0.25  # for a close frame to leave; the socket must be gone within 1 s


@dataclass
class Opened:
    """What a good attempt leaves: a link past hello-ok, and pushes that came with it."""

    link: Link
    conversation: Conversation
    accepted: Accepted
    pushes: list[Push]


def attempt(config: Config, dial: Dial, hub: HubThread, tracer: Tracer) -> Opened:
    """Dial and shake hands. Raises DialError or HandshakeError; then nothing stays open.

    Refused credentials get at most one second chance (PROTOCOL.md 3), with a device token
    that is on disk, or with a fresh signature; all of it within the one deadline.
    """
    deadline = Deadline(config.connect_timeout)
    keys = _on_disk(hub, deadline, KeyRing, config)
    try:
        return _open(config, dial, hub, tracer, deadline, keys)
    except AuthError as error:
        if not _on_disk(hub, deadline, keys.second_chance, error.code):
            raise
        log.info("%s; trying once more, with %s", error.message, keys.next_try)
        try:
            return _open(config, dial, hub, tracer, deadline, keys)
        except AuthError as again:
            _on_disk(hub, deadline, keys.second_chance, again.code)
            raise error from again


def _on_disk(hub: HubThread, deadline: Deadline, function: Callable[..., T], *args: Any) -> T:
    """``function(*args)``, which reads or writes the state directory, within the deadline."""
    try:
        return offload.run(hub, function, *args, timeout=deadline.remaining())
    except gevent.Timeout:
        raise DialTimeout(
            "the state directory gave no answer",
            stage="identity",
            hint="is it on a network file system? state_dir can be another",
        ) from None


def _open(
    config: Config,
    dial: Dial,
    hub: HubThread,
    tracer: Tracer,
    deadline: Deadline,
    keys: KeyRing,
) -> Opened:
    handshake = keys.handshake()
    link = dial(config, hub, deadline, tracer)
    try:
        with tracer.stage("handshake", "waiting for the gateway's challenge") as note:
            limit = deadline.within(config.stage_limit("handshake"))
            conversation = Conversation(
                handshake,
                time.monotonic(),
                limit.remaining(),
                ping_interval_s=config.ping_interval,
                ping_timeout_s=config.ping_timeout,
            )
            step, accepted = _shake(link, conversation)
            hello = accepted.hello
            version = printable(hello.server_version, 60)
            note.detail = f"protocol {hello.protocol}, gateway {version}"
        if accepted.device_token is not None:
            # Waited for: a script may end right after its first answer, and the next
            # one relies on the token.
            scopes = hello.scopes or config.scopes
            if not keys.has_kept(accepted.device_token, scopes):
                _on_disk(hub, deadline, keys.keep, accepted.device_token, scopes)
    except BaseException:
        link.finish(FLUSH_S)
        raise
    return Opened(link, conversation, accepted, step.pushes)


class KeyRing:
    """This device's key and the credentials to use. Reads and writes files: off the hub."""

    def __init__(self, config: Config) -> None:
        state_dir = config.state_dir or default_state_dir()
        self._config = config
        self._device = load_identity(state_dir)
        self._store = TokenStore(state_dir)
        self._credentials = Credentials(config.token, config.password, config.device_token)
        self._kept = self._store.entry(config.url, self._device.id, config.role)
        self._stored: str | None = None  # the token of the store, while it is what we use
        self.next_try = "this device's own token"
        if not self._credentials.auth():
            self._use_stored()

    def _use_stored(self) -> bool:
        """Turn to the stored token; False if there is none, or it is the one refused."""
        config, refused = self._config, self._stored
        self._stored = self._store.get(config.url, self._device.id, config.role)
        if self._stored is None or self._stored == refused:
            return False
        self._credentials = Credentials(device_token=self._stored)
        return True

    def handshake(self) -> Handshake:
        return Handshake(
            device=self._device,
            credentials=self._credentials,
            role=self._config.role,
            scopes=self._config.scopes,
            caps=self._config.caps,
            client_version=VERSION,
            platform=sys.platform,
        )

    def has_kept(self, token: str, scopes: tuple[str, ...]) -> bool:
        """Whether that is what the store held when this attempt began. Reads nothing."""
        return self._kept == entry_of(token, scopes)

    def keep(self, token: str, scopes: tuple[str, ...]) -> None:
        """Remember the token that the gateway issued."""
        config = self._config
        self._store.put(config.url, self._device.id, config.role, token, scopes)

    def second_chance(self, code: str) -> bool:
        """The gateway refused with ``code``: whether there is another token to try.

        A stored token that is wrong is forgotten; another process may have stored a
        newer one meanwhile. In place of a shared token the stored one is used only if
        the shared one was not given explicitly, and only where nobody else can listen.
        """
        config = self._config
        if code == _SIGNATURE_EXPIRED:  # the gateway's time came with the challenge: a fresh one
            self.next_try = "a fresh signature"
            return True
        if self._stored is not None:
            if code != "AUTH_DEVICE_TOKEN_MISMATCH":
                return False
            self._kept = None
            self._store.clear(config.url, self._device.id, config.role, self._stored)
            return self._use_stored()
        found = config.token is not None and config.sources.get("token", "argument") != "argument"
        safe = config.endpoint.is_loopback or config.tls_fingerprint is not None
        return code == "AUTH_TOKEN_MISMATCH" and found and safe and self._use_stored()


def _shake(link: Link, conversation: Conversation) -> tuple[Step, Accepted]:
    """From the challenge to hello-ok; the step is the one that brought it."""
    # Refused from a frame's header on, before it is read; a hello-ok has the usual limit.
    usual, link.max_message = link.max_message, limits.PREAUTH_MESSAGE_BYTES
    while True:
        due = conversation.next_deadline() or 0.0
        try:
            with gevent.Timeout(max(due - time.monotonic(), 0.001)):
                frames = link.receive()
            step = conversation.receive(frames, time.monotonic())
            if time.monotonic() >= due and step.accepted is None and step.error is None:
                # A flood that always has the next frame ready leaves the timer no chance.
                step = conversation.on_deadline(due)
        except gevent.Timeout:
            step = conversation.on_deadline(due)
        except ConnectionLost as error:
            raise HandshakeError(
                f"during the handshake {error.message}",
                code="CLOSED",
                close_code=error.close_code,
                retryable=True,
            ) from error
        for frame in step.send:
            link.max_message = usual
            link.send(frame)
        if step.error is not None:
            link.close(step.close_code)
            raise step.error
        if step.accepted is not None:
            return step, step.accepted
