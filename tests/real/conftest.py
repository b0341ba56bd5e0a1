"""One real gateway of each release for all tests of a run; its log when a test fails."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator, Iterator

import pytest

from real.install import DEFAULT_VERSION
from real.runner import RealGateway, facts_of

RUNNING: list[RealGateway] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test runs on the newest release, or on all that its module names and it is made for."""
    if "release" not in metafunc.fixturenames:
        return
    releases = getattr(metafunc.module, "RELEASES", (DEFAULT_VERSION,))
    if "GWSYNC_REAL_GATEWAY_VERSION" in os.environ:  # that one only
        releases = (DEFAULT_VERSION,)
    fact = getattr(metafunc.function, "only_if", None)
    wanted = [one for one in releases if fact is None or getattr(facts_of(one), fact)]
    # "session" makes pytest order the tests by release: each gateway is started once
    metafunc.parametrize("release", wanted, indirect=True, scope="session")


@contextlib.contextmanager
def running(release: str) -> Iterator[RealGateway]:
    """A gateway whose log is shown with a failure."""
    with RealGateway(release) as one:
        RUNNING.append(one)
        try:
            yield one
        finally:
            RUNNING.remove(one)


@pytest.fixture(scope="session")
def release(request: pytest.FixtureRequest) -> str:
    """Which release of OpenClaw the gateway is."""
    return str(request.param)


@pytest.fixture(scope="session")
def shared_gateway(release: str) -> Iterator[RealGateway]:
    """Started once a release, as that takes seconds; tests may leave it changed, but running."""
    with running(release) as one:
        yield one


@pytest.fixture
def gateway(shared_gateway: RealGateway) -> RealGateway:
    """The shared one, ready and wanting a token, whatever an earlier test did to it."""
    shared_gateway.wait_ready()
    shared_gateway.use_auth("token")
    return shared_gateway


@pytest.fixture
def password_gateway(shared_gateway: RealGateway) -> RealGateway:
    """The shared one, wanting a password."""
    shared_gateway.wait_ready()
    shared_gateway.use_auth("password")
    return shared_gateway


@pytest.fixture
def open_gateway(shared_gateway: RealGateway) -> RealGateway:
    """The shared one, wanting no secret."""
    shared_gateway.wait_ready()
    shared_gateway.use_auth("none")
    return shared_gateway


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
