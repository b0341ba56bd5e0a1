"""What a jump in `seq` means."""

from __future__ import annotations

from typing import Any

import pytest

from gwsync.protocol.sequence import _MAX_HOLES, Order, Sequence
from gwsync.values import SeqGap

NEXT, LATE, REPEATED = Order.NEXT, Order.LATE, Order.REPEATED
BAD, UNORDERED = Order.BAD, Order.UNORDERED


@pytest.mark.parametrize(
    ("seqs", "orders"),
    [
        ([1, 2, 3], [NEXT, NEXT, NEXT]),
        ([0, 1], [NEXT, NEXT]),
        ([4711, 4712], [NEXT, NEXT]),
        ([1, None, 2], [NEXT, UNORDERED, NEXT]),
        ([1, 1], [NEXT, REPEATED]),
        ([5, 4, 4], [NEXT, LATE, REPEATED]),
        ([1, 5, 3, 3], [NEXT, NEXT, LATE, REPEATED]),
        ([1, 5, 4, 3, 2, 2], [NEXT, NEXT, LATE, LATE, LATE, REPEATED]),
        ([1, 3, 5, 2, 4], [NEXT, NEXT, NEXT, LATE, LATE]),
        ([1, 5, 3, 6], [NEXT, NEXT, LATE, NEXT]),
        ([1, "2", 2], [NEXT, BAD, NEXT]),
        (["1", 1], [BAD, NEXT]),
    ],
    ids=str,
)
def test_each_event_has_its_standing(seqs: list[Any], orders: list[Order]) -> None:
    sequence = Sequence()
    assert [sequence.observe(seq)[0] for seq in seqs] == orders


@pytest.mark.parametrize(
    "seq", [1.5, 2.0, "2", True, False, -1, 2**63, 2**70, [2], {"seq": 2}], ids=repr
)
def test_a_seq_that_is_no_count_is_bad_and_moves_nothing(seq: Any) -> None:
    sequence = Sequence()
    sequence.observe(1)
    assert sequence.observe(seq) == (BAD, None)
    assert sequence.observe(2) == (NEXT, None)


@pytest.mark.parametrize(
    ("seqs", "gap"),
    [([1, 3], SeqGap(2, 3)), ([7, 100], SeqGap(8, 100)), ([1, 2, None, 9], SeqGap(3, 9))],
    ids=str,
)
def test_a_jump_is_a_gap(seqs: list[Any], gap: SeqGap) -> None:
    sequence = Sequence()
    found = [sequence.observe(seq)[1] for seq in seqs]
    assert found == [None] * (len(seqs) - 1) + [gap]


def test_the_first_number_is_the_baseline_whatever_it_is() -> None:
    assert Sequence().observe(982) == (NEXT, None)


def test_only_so_many_gaps_are_remembered() -> None:
    sequence = Sequence()
    for seq in range(0, 2 * _MAX_HOLES + 4, 2):
        sequence.observe(seq)
    assert sequence.observe(1) == (REPEATED, None)  # the oldest gap was given up
    assert sequence.observe(2 * _MAX_HOLES + 1) == (LATE, None)
