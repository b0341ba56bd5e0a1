"""The model of large fleets, against the small runs that are on record."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from .support import load_benchmarks

fleet_model = load_benchmarks("fleet_model")
FIGURES, Model, Sample = fleet_model.FIGURES, fleet_model.Model, fleet_model.Sample
load, plot, split, table = (
    fleet_model.load,
    fleet_model.plot,
    fleet_model.split,
    fleet_model.table,
)


def made(workers: int, pushes: float) -> Sample:
    """A world that is a straight line."""
    worth = workers * (10 + 2 * pushes)
    return Sample(workers, pushes, *(100.0 + worth * (n + 1) for n in range(5)))


def test_a_straight_line_is_found_again() -> None:
    model = Model.of([made(n, p) for n in (8, 16, 32) for p in (0, 200)])
    line = model.lines["out_bytes"]
    assert (line.base, line.each, line.pushed) == pytest.approx((100, 10, 2))
    assert model.errors([made(100_000, 1000)])["memory"] < 1e-6


def test_the_largest_run_on_record_is_foretold_by_the_smaller_ones() -> None:
    small, large = split(load())
    assert {one.workers for one in small} == {4, 8, 16}
    errors = Model.of(small).errors(large)
    for figure in FIGURES:
        assert errors[figure] < 0.35, figure  # of a machine with other things to do


def test_more_workers_never_need_fewer_fleets() -> None:
    model = Model.of(split(load())[0])
    needed = [model.fleets(n, 10)[0] for n in (100, 1000, 10_000, 100_000)]
    assert needed == sorted(needed)
    assert needed[0] == 1
    assert needed[-1] >= 100_000 * 2 / 10_000


def test_table_and_plot_can_be_read() -> None:
    samples = load()
    assert "100,000" in table(samples)
    assert ElementTree.fromstring(plot(samples)).tag.endswith("svg")
