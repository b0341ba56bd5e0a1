"""A session cut at every byte it sends or gets, by RST and by FIN, and frozen along the way.

The ordinary suite takes a sample, another one on each Python; ``tox -e faults`` takes every byte.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.session import PATIENCE_S, Stage
from gwsync.testing import FaultProxy

# GWSYNC_FAULTS_EVERY=1: every byte
EVERY = int(os.environ.get("GWSYNC_FAULTS_EVERY", "7"))
FROZEN_EVERY = 50 * EVERY
FIRST = sys.version_info.minor  # each Python begins elsewhere
STAGES = 4  # sessions at once, in threads; the work is Python's, more would only wait
FROZEN_STAGES = 16  # these wait for a ping's answer, most of the time
SPREAD = 50  # bytes that two sessions may differ by: numbers have more digits or fewer
PARTS = 4

Strike = Callable[[FaultProxy, int], None]


def sizes(stage: Stage) -> dict[str, int]:
    """Bytes that a session takes, up and down, when nothing strikes it."""
    result = stage.play(lambda proxy: None)
    stage.check(result)
    assert not any(isinstance(came, Exception) for came in result.came.values())
    return result.passed


def sweep(
    state_dir: Path,
    direction: str,
    every: int,
    strike: Strike,
    *,
    part: int = 0,
    parts: int = 1,
    stages: int = STAGES,
    **options: Any,
) -> None:
    """Play a session for each offset of that part. Raises the first failures."""
    failures: list[str] = []
    offsets: queue.SimpleQueue[int] = queue.SimpleQueue()
    with Stage(str(state_dir)) as stage:
        size = sizes(stage)[direction]
    chosen = range(FIRST % every, size + SPREAD, every)[part::parts]
    assert chosen
    for offset in chosen:
        offsets.put(offset)

    def work() -> None:
        with Stage(str(state_dir)) as stage:
            while len(failures) < 3:
                try:
                    offset = offsets.get_nowait()
                except queue.Empty:
                    return
                failure = one(stage, offset, size, strike, options)
                if failure:
                    failures.append(f"at byte {offset} of {size} {direction}: {failure}")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(stages)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert offsets.empty()


def one(stage: Stage, offset: int, size: int, strike: Strike, options: Any) -> str:
    """What was wrong with the session that was struck there; nothing, one hopes."""
    made = stage.proxy.connections_total
    began = time.monotonic()
    try:
        result = stage.play(lambda proxy: strike(proxy, offset), **options)
        stage.check(result)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if offset < size - SPREAD and stage.proxy.connections_total < made + 2:
        return "it was not struck"
    if time.monotonic() - began > PATIENCE_S:
        return f"it took {time.monotonic() - began:.1f} s"
    return ""


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    with Stage(str(tmp_path / "state")) as stage:
        sizes(stage)  # makes the identity, before many look for it at once
    return tmp_path / "state"


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("how", ["rst", "fin"])
def test_cut(state_dir: Path, how: str, direction: str, part: int) -> None:
    def strike(proxy: FaultProxy, offset: int) -> None:
        proxy.cut(offset, how, direction, once=True)

    sweep(state_dir, direction, EVERY, strike, part=part, parts=PARTS)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_frozen(state_dir: Path, direction: str) -> None:
    def strike(proxy: FaultProxy, offset: int) -> None:
        proxy.freeze(offset, direction, once=True)

    sweep(
        state_dir,
        direction,
        FROZEN_EVERY,
        strike,
        stages=FROZEN_STAGES,
        ping_interval=0.2,
        ping_timeout=0.3,
        stage_timeouts=(("upgrade", 1.0), ("handshake", 1.0)),
    )
