"""How long a soak is, and the figures it prints.

``tox -e soak`` is the long form (GWSYNC_SOAK=long), ``tox -e soak-short`` what CI runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

LONG = os.environ.get("GWSYNC_SOAK") == "long"


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note figures to be printed at the end of the run, whatever becomes of the test."""

    def note(**values: Any) -> None:
        for name, value in values.items():
            record_property(name, f"{value:.4g}" if isinstance(value, float) else value)

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line per test: they are what a soak is for."""
    terminalreporter.section(f"figures of the {'long' if LONG else 'short'} soak")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            if report.when == "call" and report.user_properties:
                told = ", ".join(f"{name}={value}" for name, value in report.user_properties)
                terminalreporter.line(f"figures of {report.nodeid.rpartition('::')[2]}: {told}")
