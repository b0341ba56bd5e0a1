"""Forty workers, one sending owner that is killed and frozen: nothing is lost unsaid.

CI runs a short form; ``tox -e soak`` the long one (GWSYNC_SOAK=long).
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.tools import eventually
from fleet.storm import (
    Crowd,
    Drummer,
    Storm,
    announced,
    in_turn,
    lost_silently,
    senders_take_turns,
    spread,
)
from fleet.support import Fleet
from soak.conftest import LONG
from soak.effects import CHAT, KEYED, READ, Effects, kind_of

FAULTS = 100 if LONG else 6  # kills and freezes
RESTARTS = 10 if LONG else 2  # of Redis
PROCESSES, EACH = (8, 5) if LONG else (4, 5)
CALL_EVERY_S = 1.0 if LONG else 0.5
PUSH_EVERY_S = 0.02
CALM_S = 1.0 if LONG else 0.5
SEED = int(os.environ.get("GWSYNC_SOAK_SEED", "9"))
REMEMBERS = ("--appendonly", "yes", "--appendfsync", "always")


def weather(storm: Storm) -> None:
    """Every fault, with the restarts among them, in an order that chance chooses."""
    chance = random.Random(SEED)
    acts = [act for act, _ in zip(in_turn(storm.kill, storm.freeze), range(FAULTS), strict=False)]
    for n in range(RESTARTS):
        acts.append(restart(storm, n))
    chance.shuffle(acts)
    for n, act in enumerate(acts):
        act()
        time.sleep(CALM_S)  # for some traffic between the faults
        if n % 10 == 5:
            storm.hiccup()


def restart(storm: Storm, n: int) -> Callable[[], None]:
    how = signal.SIGKILL if n % 4 < 2 else signal.SIGTERM
    return lambda: storm.restart_redis(forget=n % 2 == 0, how=how, and_owner=n % 5 == 3)


def told_by_kind(outcomes: dict[int, str]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for number, outcome in outcomes.items():
        counts.setdefault(kind_of(number), Counter())[outcome] += 1
    return {kind: dict(count) for kind, count in counts.items()}


@pytest.mark.timeout(3000 if LONG else 240)
def test_nothing_is_lost_unsaid_and_nothing_keyed_runs_twice(
    tmp_path: Path, figures: Callable[..., None]
) -> None:
    effects = Effects()
    with Fleet(tmp_path, *REMEMBERS) as fleet:
        effects.serve(fleet.gateway)
        storm = Storm(fleet)
        crowd = Crowd(fleet, tmp_path, PROCESSES, EACH, CALL_EVERY_S)
        began = time.monotonic()
        with Drummer(storm, PUSH_EVERY_S) as drummer:
            weather(storm)
        storm.settle()
        seconds = time.monotonic() - began
        eventually(lambda: drummer.push(last=True), "a push that was sent")
        told = crowd.end()
        late = senders_take_turns(fleet.gateway)
        effects.add_chats(fleet.gateway)
        executed = Counter(
            one.idempotency_key for one in fleet.gateway.executed if one.method == CHAT
        )
    outcomes = {int(n): what for one in told for n, what in one["outcomes"].items()}
    logs = [one["log"] for one in told]
    twice = [key for key, times in executed.items() if times > 1]
    silent = [wrong for log in logs for wrong in lost_silently(log)]
    heard = [sum(one[2] - one[1] + 1 for one in log if one[0] == "heard") for log in logs]
    figures(
        workers=crowd.size,
        seconds=seconds,
        failovers={kind: spread(values) for kind, values in storm.failovers.items()},
        wakes=spread(storm.wakes),
        pushed=drummer.pushed,
        pushed_without_a_link=len(drummer.unheard),
        heard_least_and_most=(min(heard), max(heard)),
        announced=dict(sum((announced(log) for log in logs), Counter())),
        calls=len(outcomes),
        outcomes=told_by_kind(outcomes),
        keyed_twice=len(twice),
        crowded=len(drummer.crowded),
        spoke_late=late,
        load=os.getloadavg()[0],
    )
    assert crowd.size == len(told)
    assert all(ends_with(log, drummer.pushed - 1) for log in logs)
    assert silent == []
    assert twice == []
    assert effects.wrong(outcomes) == []
    assert late == 0
    assert drummer.crowded == []
    assert outcomes
    assert_only_what_may_end_otherwise(told_by_kind(outcomes), [one["errors"] for one in told])


def ends_with(log: list[list[Any]], last: int) -> bool:
    return [one[2] for one in log if one[0] == "heard"][-1] == last


def assert_only_what_may_end_otherwise(
    told: dict[str, dict[str, int]], errors: list[list[str]]
) -> None:
    for kind in (READ, KEYED, CHAT):
        why = [one for each in errors for one in each if kind_of(int(one.split()[0])) == kind]
        assert set(told.get(kind, ())) <= {"ok", "rejected"}, "\n".join(why)
