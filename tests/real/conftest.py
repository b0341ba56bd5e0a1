"""One real gateway for all tests of a run, checked before each; its log when a test fails."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator, Iterator

import pytest

from real.runner import RealGateway

RUNNING: list[RealGateway] = []


@contextlib.contextmanager
def running() -> Iterator[RealGateway]:
    """A gateway whose log is shown with a failure."""
    with RealGateway() as one:
        RUNNING.append(one)
        try:
            yield one
        finally:
            RUNNING.remove(one)


@pytest.fixture(scope="session")
def shared_gateway() -> Iterator[RealGateway]:
    """Started once, as it takes seconds; a test that breaks its gateway brings its own."""
    with running() as one:
        yield one


@pytest.fixture
def gateway(shared_gateway: RealGateway) -> RealGateway:
    """The shared one, ready: an earlier test may have left it in a restart."""
    shared_gateway.wait_ready()
    return shared_gateway


@pytest.fixture
def own_gateway() -> Iterator[RealGateway]:
    """One that the test may kill or reconfigure."""
    with running() as one:
        yield one


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the gateway's last log lines below a failure."""
    report = yield
    if report.failed:
        for one in RUNNING:
            report.sections.append((f"gateway {one.url}", one.log_tail()))
    return report


def pytest_configure() -> None:
    """A polite kill ends like Ctrl-C, with fixtures torn down and the gateway stopped."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
