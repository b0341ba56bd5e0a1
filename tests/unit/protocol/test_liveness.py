"""When silence becomes death."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync import limits
from gwsync.protocol.liveness import Liveness, Verdict

ALIVE, PING, UNANSWERED, SILENT = Verdict


def test_an_idle_link_is_asked_after_one_tick_and_dies_of_no_answer() -> None:
    life = Liveness(100.0, 30.0)
    assert life.deadline == 130.0
    assert life.check(129.9) is ALIVE
    assert life.check(130.0) is PING
    assert life.deadline == 130.0 + limits.PING_TIMEOUT_S
    assert life.check(139.9) is ALIVE
    assert life.check(140.0) is UNANSWERED


def test_pongs_alone_do_not_make_a_gateway() -> None:
    """The machine answers, but no tick comes: two of them missed are the end."""
    life = Liveness(100.0, 30.0)
    assert life.check(130.0) is PING
    life.received(2, 131.0)
    assert life.deadline == 160.0
    assert life.check(159.9) is ALIVE
    assert life.check(160.0) is SILENT


def test_whatever_is_heard_starts_both_counts_again() -> None:
    life = Liveness(100.0, 30.0)
    assert life.check(130.0) is PING
    life.heard(135.0)
    assert life.deadline == 165.0
    assert life.check(164.9) is ALIVE


def test_a_large_frame_under_way_is_heard_and_a_drip_is_not() -> None:
    large, drip = Liveness(0.0, 30.0), Liveness(0.0, 30.0)
    for second in range(1, 61):
        large.received(second * limits.PROGRESS_BYTES, float(second))
        drip.received(second, float(second))
    assert large.deadline == 90.0
    assert drip.deadline == 60.0
    assert drip.check(60.0) is SILENT


def test_the_same_bytes_are_not_heard_twice() -> None:
    life = Liveness(0.0, 30.0)
    life.received(10, 5.0)
    life.received(10, 25.0)
    assert life.deadline == 35.0


def test_the_interval_and_the_timeout_can_be_chosen() -> None:
    life = Liveness(0.0, 30.0, 5.0, 1.5)
    assert life.check(5.0) is PING
    assert life.deadline == 6.5


@pytest.mark.parametrize(
    ("slept_s", "patience"),
    [(5.0, limits.PING_TIMEOUT_S), (60.0, limits.WAKE_TIMEOUT_S), (1e6, limits.WAKE_TIMEOUT_S)],
)
def test_who_wakes_asks_first(slept_s: float, patience: float) -> None:
    life = Liveness(0.0, 30.0)
    now = 1000.0  # far past every deadline: what came meanwhile is still unread
    assert life.woke(slept_s, now) is PING
    assert life.check(now + patience - 0.01) is ALIVE
    assert life.check(now + patience) is not ALIVE


def test_an_answer_after_waking_is_as_good_as_any() -> None:
    life = Liveness(0.0, 30.0)
    life.woke(3600.0, 1000.0)
    life.heard(1000.5)
    assert life.deadline == 1030.5


def test_a_process_that_is_always_late_does_not_keep_a_dead_link_for_ever() -> None:
    life = Liveness(0.0, 30.0)
    assert life.woke(3.0, 50.0) is PING
    assert life.woke(3.0, 53.0) is ALIVE
    assert life.woke(3.0, 60.0) is not ALIVE


@pytest.mark.parametrize(
    ("tick_s", "limit_s"), [(0.0, 2.0), (-5.0, 2.0), (1e15, 600.0), (15.0, 30.0)]
)
def test_a_nonsensical_tick_is_clamped(tick_s: float, limit_s: float) -> None:
    assert Liveness(0.0, tick_s).limit_s == limit_s


def test_the_usual_tick_is_thirty_seconds() -> None:
    assert Liveness(0.0).limit_s == 60.0


@given(
    st.lists(
        st.tuples(st.sampled_from(["heard", "bytes", "woke", "check"]), st.floats(0.0, 20.0)),
        max_size=40,
    )
)
def test_a_dead_link_is_noticed_within_the_bound_and_a_live_one_never_condemned(
    script: list[tuple[str, float]],
) -> None:
    life, now, total = Liveness(0.0, 10.0, 10.0, 5.0), 0.0, 0
    silent_since = 0.0  # nothing at all came since then
    for act, passed in script:
        now += passed
        if act == "heard":
            life.heard(now)
            silent_since = now
        elif act == "bytes":
            total += 1
            life.received(total, now)
        elif act == "woke":
            life.woke(3.0, now)
        else:
            verdict = life.check(now)
            if verdict in (UNANSWERED, SILENT):
                assert now - silent_since >= 5.0 - 1e-6  # asked, and that long no answer
                return
    # Asked at its deadlines from here on, it ends.
    for _ in range(10):
        now = max(now, life.deadline)
        if life.check(now) in (UNANSWERED, SILENT):
            break
    assert life.check(now) in (UNANSWERED, SILENT)
