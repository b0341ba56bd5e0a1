"""Server-side subscriptions: what a new link has to ask the gateway for again.

``sessions.subscribe`` and its like hold for one connection of the gateway's; after a
reconnect the events would stay away without a word.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

import gevent

from .. import limits
from ..errors import GatewayError
from ..protocol.methods import SUBSCRIBES, UNSUBSCRIBES
from ..protocol.pending import Call
from ..values import decode_json
from .attempt import FLUSH_S, Opened

log = logging.getLogger("gwsync.session")
_Key = tuple[Any, ...]


class Remembered:
    """The subscriptions that the gateway holds for us, by method and identifying params."""

    def __init__(self) -> None:
        self._params: dict[_Key, tuple[str, bytes]] = {}

    def __len__(self) -> int:
        return len(self._params)

    def answered(self, call: Call) -> None:
        """``call``, a call that subscribes or ends that, was answered well."""
        made = UNSUBSCRIBES.get(call.method, call.method)
        params = decode_json(call.params, "params")
        key = (made, *(repr(params.get(name)) for name in SUBSCRIBES[made].key))
        if call.method == made:
            self._params[key] = (call.method, call.params)
        else:
            self._params.pop(key, None)

    def calls(self) -> list[Call]:
        """What to ask a new link for."""
        return [Call(method, params) for method, params in self._params.values()]

    @property
    def held(self) -> list[tuple[str, bytes]]:
        """Methods and params, for whoever takes this connection's place."""
        return list(self._params.values())

    def inherit(self, held: Iterable[tuple[str, bytes]]) -> None:
        for method, params in held:
            if method in SUBSCRIBES:
                self.answered(Call(method, params))

    def forget(self) -> None:
        self._params.clear()


def restore(opened: Opened, remembered: Remembered) -> None:
    """Ask for them on a new link, before anybody hears of it. Ends the link if that fails.

    One that the gateway refuses is told in the log, and stays: the next link may do better.
    """
    try:
        waiting = remembered.calls()
        until = time.monotonic() + limits.RESTORE_TIMEOUT_S
        while waiting:
            _ask(opened, waiting[: limits.MAX_IN_FLIGHT], until)
            del waiting[: limits.MAX_IN_FLIGHT]
    except BaseException:
        opened.link.finish(FLUSH_S)
        raise


def _ask(opened: Opened, calls: list[Call], until: float) -> None:
    link, conversation = opened.link, opened.conversation
    for call in calls:
        link.send(conversation.call(call, time.monotonic()), call)
    # The clock is looked at here too: a flood that always has the next frame ready
    # leaves the timer no chance.
    while time.monotonic() < until and not all(call.settled for call in calls):
        try:
            with gevent.Timeout(max(until - time.monotonic(), 0.0)):
                frames = link.receive()
        except gevent.Timeout:
            break
        step = conversation.receive(frames, time.monotonic())
        opened.pushes += step.pushes
        for call in step.refused:  # busy: not worth keeping everybody waiting
            if call.refusal is not None:
                call.settle(call.refusal)
        for frame in step.send:
            link.send(frame)
        if step.error is not None:
            link.close(step.close_code)
            raise step.error
    for call in calls:
        if not call.settled:
            conversation.forget(call, time.monotonic())
        if not call.settled or isinstance(call.result, GatewayError):
            why = call.result or "no answer in time"
            log.warning("%s could not be made again on the new link: %s", call.method, why)
