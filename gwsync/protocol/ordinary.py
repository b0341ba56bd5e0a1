"""The ordinary event, which is almost all that a gateway sends: decoded and passed on.

In Python whatever a function is called for costs a third of decoding a frame, so this
one goes through as many frames as it can.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..compiled import compiled
from ..values import Event
from .frames import REFUSED, Response, decode_whole
from .snapshot import PARTS

_NOTED = frozenset({"connect.challenge", "shutdown", *PARTS})  # events that mean something here
Taken = tuple[int, "int | None", "Event | Response | None"]
TakeOrdinary = Callable[[list[bytes], int, int, "int | None", list[Any]], Taken]


def take_ordinary(
    frames: list[bytes], at: int, most: int, last: int | None, pushes: list[Any]
) -> Taken:
    """Add to ``pushes`` the events from ``frames[at]`` on that only have to be passed on.

    Those are of the ``seq`` after ``last`` (None: nothing is ordinary yet). Returns where it
    ended, the last ``seq`` and, if that was decoded already, the frame before there that
    is no such event. One of over ``most`` bytes, or which the decoder refuses, is not.
    """
    while at < len(frames):
        frame = frames[at]
        if len(frame) > most:
            break
        try:
            got = decode_whole(frame)
        except REFUSED:
            break
        at += 1
        if last is None or type(got) is not Event:
            return at, last, got
        seq = got.seq
        if type(seq) is not int or seq != last + 1 or got.name in _NOTED:
            return at, last, got
        last = seq
        pushes.append(got)
    return at, last, None


def ordinary_taker() -> TakeOrdinary:
    """That function, or the extension's, which does the same."""
    function = compiled("take_ordinary")
    if function is None:
        return take_ordinary
    return partial(function, decode_whole, Event, _NOTED, REFUSED)
