"""What all tests share: no silent skips in CI, and children that import what we import."""

from __future__ import annotations

import atexit
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from frames import Frames

# Its assertions are the real ones, though no test module: show what they compared.
pytest.register_assert_rewrite("conformance.cases")

# settings of the test suite itself
OF_THE_TESTS = (
    "GWSYNC_FAULTS_EVERY",
    "GWSYNC_NO_SKIPS",
    "GWSYNC_PROTOCOL_SCHEMA",
    "GWSYNC_REAL_GATEWAY_CACHE",
    "GWSYNC_REAL_GATEWAY_VERSION",
    "GWSYNC_CI_RUN",
    "GWSYNC_SCREENSHOTS",
    "GWSYNC_SOAK",
)
NO_SKIPS = os.environ.get("GWSYNC_NO_SKIPS") == "1" or os.environ.get("CI") == "true"

_skipped: dict[str, str] = {}
_frames = Frames()


def _leave_home() -> None:
    """No test reads or writes this user's settings, identity or OpenClaw config."""
    for name in list(os.environ):
        if name.startswith(("GWSYNC_", "OPENCLAW_")) and name not in OF_THE_TESTS:
            del os.environ[name]
    elsewhere = tempfile.mkdtemp(prefix="gwsync-tests-")
    atexit.register(shutil.rmtree, elsewhere, ignore_errors=True)
    os.environ["GWSYNC_STATE_DIR"] = os.path.join(elsewhere, "state")
    os.environ["OPENCLAW_HOME"] = elsewhere


def pytest_configure(config: pytest.Config) -> None:
    """Let scripts that tests start find gwsync where the tests found it."""
    import gwsync

    _leave_home()
    _frames.install()
    home = str(Path(gwsync.__file__).resolve().parents[1])
    if home == str(Path(sysconfig.get_path("purelib")).resolve()):
        return  # installed: every child finds it
    rest = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([home, rest]) if rest else home


@pytest.fixture(autouse=True)
def frames_are_valid(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every frame that a LocalGateway got must be one that the gateway's schema allows."""
    _frames.taken()
    yield
    wrong = _frames.taken()
    if wrong and request.node.get_closest_marker("wrong_params") is None:
        pytest.fail("frames that the schema does not allow:\n" + "\n".join(wrong), pytrace=False)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note skipped tests; an expected failure also reports as skipped, but is not."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note modules that were skipped whole."""
    if report.skipped:
        _note(report)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    where = report.longrepr
    reason = where[2] if isinstance(where, tuple) else str(where or "")
    _skipped[report.nodeid] = reason.removeprefix("Skipped: ")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed run: what was not run was not shown to work."""
    if NO_SKIPS and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skipped tests that make the run fail."""
    if not (NO_SKIPS and _skipped):
        return
    terminalreporter.section("skipped tests fail this run (CI=true or GWSYNC_NO_SKIPS=1)", red=True)
    for nodeid, reason in _skipped.items():
        terminalreporter.line(f"{nodeid}: {reason}", red=True)
