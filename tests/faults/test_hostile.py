"""Every row of FAULTS.md that a gateway can cause: over plain TCP, over TLS and through a relay.

Many cases run at the same time, since most of their time is waiting; then each has a
test of its own that says how it went, and the last tests say what all of them cost.
"""

from __future__ import annotations

import statistics
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from conformance.tools import _SLACK
from faults.case import Case
from faults.cases import CASES
from faults.conftest import EVERYTHING
from faults.gauges import Gauges
from faults.runner import GRACE_S, Runner

WAYS = ("plain", "tls", "relay")
AT_ONCE = 8
MEMORY_BYTES = 64 * 1024 * 1024
LAG_S = 0.25
IDLE_S = 20.0  # callback threads go after 10 s without work

PLAYED = [
    (case, way)
    for number, case in enumerate(CASES)
    for index, way in enumerate(WAYS)
    if EVERYTHING or (number % 10 == 0 and number // 10 % 3 == index)
]


class Played:
    """The outcomes, and what they cost."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        for way in WAYS:  # what is made once a process is no growth
            runner.run(_first_good(), way)
        runner.took.clear()
        self.gauges = Gauges()
        self.outcomes: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(1) as alone:
            self._play(alone, heavy=True)
        self.longest_lag = max(self.gauges.lags)  # no other thread of ours had a say in it
        with ThreadPoolExecutor(AT_ONCE) as pool:
            self._play(pool, heavy=False)
        self.gauges.stop()
        self.leaked = self.gauges.leaked(IDLE_S)

    def _play(self, pool: ThreadPoolExecutor, *, heavy: bool) -> None:
        for case, way in PLAYED:
            if case.heavy is heavy:
                outcome = pool.submit(self.runner.run, case, way)
                self.outcomes[f"{case.name}-{way}"] = outcome


def _first_good() -> Case:
    return next(case for case in CASES if case.name == "2a-second-hello-ok")


@pytest.fixture(scope="module")
def played(runner: Runner) -> Played:
    return Played(runner)


@pytest.mark.parametrize(("case", "way"), PLAYED, ids=lambda value: getattr(value, "name", value))
def test_hostile(played: Played, case: Case, way: str) -> None:
    played.outcomes[f"{case.name}-{way}"].result()
    over = played.runner.took[f"{case.name}-{way}"]
    assert over < GRACE_S * _SLACK, f"{over:.2f} s over its bound of {case.bound_s:g} s"


def test_the_table_has_every_row_of_bad_input() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert len(names) >= 150
    for number in (
        *range(19, 21),
        *range(22, 48),
        48,
        51,
        57,
        *range(59, 64),
        *range(66, 69),
        70,
        71,
        72,
    ):
        assert any(name.startswith(f"{number}-") for name in names), number
    both = [
        name.removesuffix("-idle") for name in names if name.endswith("-idle") and name[:2] == "2a"
    ]
    early = {name.removesuffix("-before-the-challenge") for name in names}
    assert len(early.intersection(both)) > 80


def test_memory_stays_flat(played: Played) -> None:
    print(f"\nhostile: memory grew by {played.gauges.grown / 2**20:.1f} MiB at most")
    assert played.gauges.grown < MEMORY_BYTES


def test_the_hub_is_never_held_up(played: Played) -> None:
    lags = sorted(played.gauges.lags)
    p99 = lags[len(lags) * 99 // 100]
    print(
        f"\nhostile: hub lag {played.longest_lag * 1000:.0f} ms under floods, with {AT_ONCE} "
        f"cases at once median {statistics.median(lags) * 1000:.1f} ms, p99 {p99 * 1000:.0f} ms"
    )
    assert played.longest_lag < LAG_S * _SLACK
    assert p99 < LAG_S * _SLACK


def test_nothing_is_left_behind(played: Played) -> None:
    assert played.leaked == {}


def test_bounds(played: Played) -> None:
    over = sorted(played.runner.took.items(), key=lambda item: item[1])
    print(
        f"\nhostile: {len(over)} runs; over their bounds at most "
        + ", ".join(f"{name} {took:.2f} s" for name, took in over[-3:])
    )
    assert over
