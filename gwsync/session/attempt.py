"""One attempt: identity, dial and handshake under one deadline, ending in an open link."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import gevent

from .. import limits
from ..config import Config
from ..errors import ConnectionLost, HandshakeError
from ..identity import TokenStore, default_state_dir, load_identity
from ..protocol.conversation import Conversation, Step
from ..protocol.handshake import Accepted, Credentials, Handshake
from ..runtime import offload
from ..runtime.hub import HubThread
from ..transport.deadline import Deadline
from ..transport.dial import Dial
from ..transport.link import Link
from ..transport.trace import Tracer
from ..values import Push
from ..version import VERSION

FLUSH_S = 0.25  # for a close frame to leave; the socket must be gone within 1 s


@dataclass
class Opened:
    """What a good attempt leaves: a link past hello-ok, and pushes that came with it."""

    link: Link
    conversation: Conversation
    accepted: Accepted
    pushes: list[Push]


def attempt(config: Config, dial: Dial, hub: HubThread, tracer: Tracer) -> Opened:
    """Dial and shake hands. Raises DialError or HandshakeError; then nothing stays open."""
    deadline = Deadline(config.connect_timeout)
    handshake = offload.run(hub, _prepare, config)
    link = dial(config, hub, deadline, tracer)
    try:
        with tracer.stage("handshake", "waiting for the gateway's challenge") as note:
            conversation, step, accepted = _shake(link, handshake, deadline)
            hello = accepted.hello
            note.detail = f"protocol {hello.protocol}, gateway {hello.server_version}"
        _keep_token(config, hub, handshake, accepted)
    except BaseException:
        link.finish(FLUSH_S)
        raise
    return Opened(link, conversation, accepted, step.pushes)


def _prepare(config: Config) -> Handshake:
    """What this attempt will say: reads the identity and the stored token from disk."""
    state_dir = config.state_dir or default_state_dir()
    device = load_identity(state_dir)
    device_token = config.device_token
    if config.token is None and config.password is None and device_token is None:
        device_token = TokenStore(state_dir).get(config.url, device.id, config.role)
    return Handshake(
        device=device,
        credentials=Credentials(config.token, config.password, device_token),
        role=config.role,
        scopes=config.scopes,
        caps=config.caps,
        client_version=VERSION,
        platform=sys.platform,
    )


def _keep_token(config: Config, hub: HubThread, handshake: Handshake, accepted: Accepted) -> None:
    if accepted.device_token is None:
        return
    store = TokenStore(config.state_dir or default_state_dir())
    scopes = accepted.hello.scopes or config.scopes
    token = accepted.device_token
    # Waited for: a script may end right after its first answer, and the next one
    # relies on the token.
    offload.run(hub, store.put, config.url, handshake.device.id, config.role, token, scopes)


def _shake(
    link: Link, handshake: Handshake, deadline: Deadline
) -> tuple[Conversation, Step, Accepted]:
    """From the challenge to hello-ok; the step is the one that brought it."""
    now = time.monotonic()
    limit = min(limits.HANDSHAKE_TIMEOUT_S, deadline.remaining())
    conversation = Conversation(handshake, now, limit)
    while True:
        due = conversation.next_deadline() or now
        try:
            with gevent.Timeout(max(due - time.monotonic(), 0.001)):
                frames = link.receive()
            step = conversation.receive(frames, time.monotonic())
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
            link.send(frame)
        if step.error is not None:
            link.close(step.close_code)
            raise step.error
        if step.accepted is not None:
            return conversation, step, step.accepted
