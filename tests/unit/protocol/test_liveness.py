"""When silence becomes death."""

from __future__ import annotations

import pytest

from gwsync.protocol.liveness import Liveness


def test_a_link_dies_of_two_silent_ticks() -> None:
    life = Liveness(100.0, 30.0)
    assert life.deadline == 160.0


def test_whatever_is_heard_starts_the_count_again() -> None:
    life = Liveness(100.0, 30.0)
    life.heard(150.0)
    assert life.deadline == 210.0


@pytest.mark.parametrize(
    ("tick_s", "limit_s"), [(0.0, 2.0), (-5.0, 2.0), (1e15, 600.0), (15.0, 30.0)]
)
def test_a_nonsensical_tick_is_clamped(tick_s: float, limit_s: float) -> None:
    assert Liveness(0.0, tick_s).limit_s == limit_s


def test_the_usual_tick_is_thirty_seconds() -> None:
    assert Liveness(0.0).limit_s == 60.0
