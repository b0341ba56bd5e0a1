"""Which pushes a worker has heard: without Redis."""

from __future__ import annotations

from gwsync.fleet.hearing import Hearing
from gwsync.fleet.messages import Batch, View


def heard(fence: int, count: int) -> Hearing:
    """One who heard ``count`` pushes of the owner with ``fence``, from the first one on."""
    hearing = Hearing()
    hearing.begin(View(fence, 0, "connected"))
    assert hearing.fresh(Batch(fence, 0, list(range(count)))) == (0, list(range(count)))
    return hearing


def test_what_is_told_again_is_heard_once_and_what_is_missing_is_counted() -> None:
    hearing = heard(5, 10)
    assert hearing.fresh(Batch(5, 8, [8, 9, 10])) == (0, [10])
    assert hearing.fresh(Batch(5, 14, [14])) == (3, [14])
    assert hearing.catch_up(View(5, 20, "connected")) == 5
    assert hearing.fresh(Batch(5, 20, [20])) == (0, [20])


def test_a_copy_of_what_an_owner_before_this_one_said_is_not_heard() -> None:
    assert heard(5, 10).fresh(Batch(4, 10, ["copied"])) == (0, [])


def test_the_next_owners_numbers_go_on() -> None:
    hearing = heard(5, 10)
    assert hearing.fresh(Batch(6, 12, ["a"])) == (2, ["a"])
    assert hearing.catch_up(View(7, 15, "connected")) == 2


def test_a_redis_that_forgot_numbers_anew() -> None:
    for fence in (6, 4):  # of an owner that took over then; below, if its clock is behind
        hearing = heard(5, 10)
        assert hearing.catch_up(View(fence, 2, "connected")) == 0
        assert hearing.fresh(Batch(fence, 2, ["a"])) == (0, ["a"])
        hearing = heard(5, 10)
        hearing.meet(View(fence, 1, "waiting"))  # its link is not up yet
        assert hearing.fresh(Batch(fence, 1, ["b"])) == (0, ["b"])
    hearing = heard(5, 10)
    assert hearing.fresh(Batch(6, 0, ["c"])) == (0, ["c"])


def test_one_owner_never_counts_back() -> None:
    hearing = heard(5, 10)
    assert hearing.catch_up(View(5, 3, "connected")) == 0
    assert hearing.fresh(Batch(5, 3, [3, 4])) == (0, [])
