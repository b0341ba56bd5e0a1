"""README.rst is a session that runs, and so is every example."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwsync.testing import LocalGateway

ROOT = Path(__file__).parents[2]
# the tests among them run in test_pytest_plugin.py
EXAMPLES = sorted(set(ROOT.glob("examples/*.py")) - set(ROOT.glob("examples/test_*.py")))
ARGUMENTS = {
    "wsgi_service": ("--once",),
    "session_board": ("--once",),
    "flask_service": ("--once",),
    "flask_relay": ("--once",),
    "fleet_service": ("--once",),
}
DOCTEST = """
import doctest, sys
sys.exit(doctest.testfile(sys.argv[1], module_relative=False, globs={"state_dir": sys.argv[2]})[0])
"""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    with LocalGateway() as gateway:
        yield {
            **os.environ,
            "GWSYNC_URL": gateway.url,
            "GWSYNC_TOKEN": gateway.token,
            "GWSYNC_STATE_DIR": str(tmp_path / "state"),
        }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def test_the_readme_is_true(environment: dict[str, str], tmp_path: Path) -> None:
    done = run(environment, "-c", DOCTEST, str(ROOT / "README.rst"), str(tmp_path / "other"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path, environment: dict[str, str]) -> None:
    done = run(environment, str(example), *ARGUMENTS.get(example.stem, ()))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
