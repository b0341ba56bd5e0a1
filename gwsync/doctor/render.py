"""A report as lines of at most 80 columns: one a stage, then what is wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..api.display import fit, safe
from ..values import StageRecord
from .report import Report

WIDTH = 80


def lines(report: Report) -> Iterator[str]:
    """For a person."""
    yield fit(safe(f"gwsync doctor: {report.url or 'no gateway'}"), WIDTH)
    told = ", ".join(f"{name} from {source}" for name, source in report.config.items())
    if told:
        yield from _wrapped(told, "  ", "  ")
    for stage in report.trace.stages:
        yield fit(safe(stage_line(stage)), WIDTH)
    yield ""
    yield from _conclusion(report)
    for note in report.notes:
        yield from _wrapped(f"note: {note}", "  ", "        ")
    yield from _paths(report)
    yield from _sockets(report)


def stage_line(stage: StageRecord) -> str:
    mark = "ok" if stage.ok else "FAILED"
    return f"  {stage.stage:<9} {mark:<6} {stage.elapsed_s * 1000:8.1f} ms  {stage.detail}"


def _conclusion(report: Report) -> Iterator[str]:
    if report.ok:
        yield f"OK: {report.message}, {report.trace.elapsed_s:.1f} s"
        return
    yield from _wrapped(f"{report.finding} at {report.stage}: {report.message}", "", "  ")
    if report.hint:
        yield from _wrapped(f"-> {report.hint}", "  ", "     ")


def _paths(report: Report) -> Iterator[str]:
    if report.paths is None:
        return
    yield ""
    for path in report.paths:
        finding = "ok" if path.ok else path.finding
        yield fit(
            safe(f"  {path.name:<14} {path.took_s * 1000:8.1f} ms  {finding}  {path.detail}"), WIDTH
        )
    if report.pick:
        yield from _wrapped(f"pick: {report.pick}", "  ", "        ")


def _sockets(report: Report) -> Iterator[str]:
    if report.sockets is None:
        return
    yield ""
    if not report.sockets:
        yield "  no process has a TCP connection to the gateway's port"
    for one in report.sockets:
        who = one.name if one.pid is None else f"{one.name} (pid {one.pid})"
        states = ", ".join(f"{count} {state}" for state, count in one.states.items())
        yield fit(safe(f"  {one.connections:4} x {who}: {states}"), WIDTH)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        safe(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )
