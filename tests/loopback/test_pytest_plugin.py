"""The fixtures that gwsync[testing] gives to pytest, each time in a pytest of its own."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import gwsync

ROOT = Path(__file__).parents[2]
INSTALLED = (
    Path(gwsync.__file__).resolve().parents[1] == Path(sysconfig.get_path("purelib")).resolve()
)
# What is installed has to be found by its entry point. Others cost time: hypothesis a second.
PLUGIN = () if INSTALLED else ("-p", "pytest_gwsync")
OTHERS = ("hypothesispytest", "xdist", "timeout", "cacheprovider")
OPTIONS = [*PLUGIN, *(word for name in OTHERS for word in ("-p", f"no:{name}")), "-q"]


def run_pytest(directory: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *arguments],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_setup_cfg_names_it() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    # Of one name: `pytest -p pytest_gwsync` then does not load it a second time.
    assert settings["options.entry_points"]["pytest11"].strip() == "pytest_gwsync = pytest_gwsync"
    assert settings["options"]["py_modules"] == "pytest_gwsync"


def test_loading_it_imports_nothing_heavy(tmp_path: Path) -> None:
    tmp_path.joinpath("conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure(config):\n"
        "    heavy = ('gwsync', 'gevent', 'websocket', 'websockets', 'cryptography')\n"
        "    print([name for name in heavy if name in sys.modules])\n"
        "    print([name for name in sys.modules if name == 'pytest_gwsync'])\n"
    )
    code, said = run_pytest(tmp_path, "--co")
    assert code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert said.splitlines()[-2:] == ["[]", "['pytest_gwsync']"]


def test_the_example_passes(tmp_path: Path) -> None:
    for name in ("my_service.py", "test_my_service.py"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
    code, said = run_pytest(tmp_path, "-W", "error")
    assert (code, "4 passed" in said) == (0, True), said


OURS = """
import gwsync, pytest

@pytest.fixture(scope="module")
def before():
    return gwsync.shared()

def test_during(before, gateway):
    assert gwsync.shared() is not before
    assert gwsync.request("health")["ok"]
    assert gateway.connections_open == 1

def test_through_the_proxy(before, gateway, fault_proxy):
    assert gwsync.request("health")["ok"]
    assert (gateway.connections_total, fault_proxy.connections) == (1, 1)

def test_after(before):
    assert gwsync.shared() is before
    assert gwsync.status().state == "idle"
"""
THEIRS = """
import pytest

@pytest.fixture
def gateway():
    return "mine"

def test_mine(gateway):
    assert gateway == "mine"
"""


def test_the_shared_connection_comes_back_and_ones_own_fixture_goes_first(tmp_path: Path) -> None:
    tmp_path.joinpath("test_ours.py").write_text(OURS)
    tmp_path.joinpath("test_theirs.py").write_text(THEIRS)
    code, said = run_pytest(tmp_path)
    assert (code, "4 passed" in said) == (0, True), said


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    tmp_path.joinpath("conftest.py").write_text("import sys; sys.modules['websockets'] = None\n")
    tmp_path.joinpath("test_it.py").write_text(
        "def test_one(gateway): pass\ndef test_other(fault_proxy): pass\n"
    )
    code, said = run_pytest(tmp_path)
    assert (code, "2 errors" in said) == (1, True), said
    assert "the fixture 'gateway' needs more than gwsync itself: pip install" in said, said
    assert "Traceback" not in said
    assert "During handling" not in said
