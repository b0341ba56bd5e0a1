"""``owner="elect"``: one of the workers is the owner, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import Program, eventually
from fleet.support import SECRET, Fleet
from gwsync.fleet.look import look
from gwsync.fleet.owner import Owner
from gwsync.fleet.store import Store

PATCH = "from gevent import monkey; monkey.patch_all()\n"
QUIET = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
# No busy machine makes it lose that while a test is about something else.
LEASE_S = 3.0
LASTS = f"""
from gwsync.fleet.owner import Owner
Owner.__init__.__kwdefaults__["lease_s"] = {LEASE_S}
"""


class Elected(Fleet):
    """Programs that may be owner."""

    def head(self) -> str:
        return (
            "import os, sys, time, gwsync\n"
            f"gwsync.configure({self.redis.url!r}, fleet='test', owner='elect',\n"
            f"    fleet_secret={SECRET!r}, gateway_url={self.gateway.url!r},\n"
            f"    token={self.gateway.token!r}, state_dir={str(self._directory / 'state')!r})\n"
        )

    def candidate(self, source: str, before: str = "") -> Program:
        command = [sys.executable, "-u", "-W", "error", "-c", before + self.head() + source]
        return self.program(command, dict(os.environ))

    def lasting(self, before: str = "") -> tuple[int, Program]:
        """One that works, until it is ended, and its process id."""
        program = self.candidate("gwsync.hello()\nprint(os.getpid())\ntime.sleep(600)\n", before)
        return int(program.read_until(str.isdigit, "its process id")), program

    def settings(self) -> dict[str, Any]:
        return {
            "owner": "elect",
            "gateway_url": self.gateway.url,
            "token": self.gateway.token,
            "state_dir": str(self._directory / "state"),
        }

    def owner_pid(self) -> int:
        """0: there is none."""
        store = Store(self.redis.url)
        try:
            found = look(store, "test")["owner"]
        finally:
            store.close()
        return int(found["name"].split(":")[-2]) if found else 0


@pytest.fixture
def lasting_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whom is elected in this process."""
    assert Owner.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Owner.__init__.__kwdefaults__, "lease_s", LEASE_S)


@pytest.fixture
def elected(tmp_path: Path) -> Any:
    with Elected(tmp_path) as made:
        yield made


@pytest.mark.parametrize("before", ["", PATCH], ids=["plain", "patched"])
def test_one_is_owner_and_the_next_one_when_it_is_killed(elected: Elected, before: str) -> None:
    programs = dict(elected.lasting(before) for _ in range(3))
    eventually(lambda: elected.gateway.connections_open == 1, "one socket")
    worker = elected.worker()
    worker.hello()
    first = eventually(elected.owner_pid, "an owner")
    began = time.monotonic()
    programs[first].kill()
    eventually(lambda: elected.owner_pid() not in (0, first), "another owner")
    assert worker.request("health", timeout=20)["ok"] is True
    assert time.monotonic() - began < 10.0  # 2 s, on a machine that has nothing else to do
    assert elected.owner_pid() in programs
    eventually(lambda: elected.gateway.connections_open == 1, "one socket")


@pytest.mark.usefixtures("lasting_lease")
def test_close_hands_over_at_once(elected: Elected) -> None:
    first = elected.worker(**elected.settings())
    assert first.hello().conn_id
    pid, _ = elected.lasting()
    assert elected.owner_pid() == os.getpid()
    first.close()
    assert elected.owner_pid() != os.getpid()  # as soon as it returns
    assert elected.worker().request("health", timeout=20)["ok"] is True
    eventually(lambda: elected.owner_pid() == pid, "the other one owns")
    elected.gateway.wait_connections(open=1)


def test_a_script_that_ends_releases(elected: Elected) -> None:
    for before in ("", PATCH):
        program = elected.candidate("print(gwsync.request('health')['ok'])\n", before)
        program.expect("True")
        assert program.end() == (0, "")
        with elected.redis.client() as client:
            assert client.get("gwsync:{test}:lease") is None
        elected.gateway.wait_connections(open=0)


def test_a_forked_child_does_not_own(elected: Elected) -> None:
    source = """
gwsync.hello()
pid = os.fork()
if not pid:
    time.sleep(3.5)  # a lease's time, and more
    print("child", gwsync.status().state, flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert gwsync.request("health")["ok"]
print("parent", gwsync.status().reconnects)
"""
    program = elected.candidate(source, QUIET + LASTS)
    program.expect("child idle")
    program.expect("parent 0")
    assert program.end() == (0, "")
    assert elected.gateway.connections_total == 1


def test_a_forked_child_that_is_used_contends(elected: Elected) -> None:
    source = """
gwsync.hello()
pid = os.fork()
if not pid:
    assert gwsync.request("health")["ok"]
    print(os.getpid(), flush=True)
time.sleep(600)
"""
    program = elected.candidate(source, QUIET + LASTS)
    child = int(program.read_until(str.isdigit, "the child's process id"))
    try:
        assert elected.owner_pid() not in (0, child)
        program._process.kill()
        eventually(lambda: elected.owner_pid() == child, "the child owns")
        eventually(lambda: elected.gateway.connections_open == 1, "one socket")
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.usefixtures("lasting_lease")
def test_another_config_resigns(elected: Elected) -> None:
    worker = elected.worker(**elected.settings())
    worker.hello()
    pid, _ = elected.lasting()
    worker.configure(elected.redis.url, fleet="test", fleet_secret=SECRET)
    eventually(lambda: elected.owner_pid() == pid, "the other one owns")
    assert worker.request("health", timeout=20)["ok"] is True


def test_the_gateways_credentials_are_kept_where_they_are_needed(
    elected: Elected, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "a-canary-of-a-token"
    may = elected.meeting(owner="elect", gateway_url="wss://box.ts.net", token=token)
    assert (may.token, may.endpoint.host) == (token, "box.ts.net")
    assert token not in repr(may)
    assert "owner='elect'" in repr(may)
    assert elected.meeting(gateway_url="wss://box.ts.net", token=token).token is None
    for wrong in ({"owner": "me"}, {"owner": "elect", "gateway_url": "redis://127.0.0.1/0"}):
        with pytest.raises(gwsync.ConfigError):
            elected.meeting(**wrong)
    around = {
        "URL": elected.redis.url,
        "OWNER": "elect",
        "FLEET": "test",
        "FLEET_SECRET": SECRET,
        "GATEWAY_URL": "wss://box.ts.net",
        "TOKEN": token,
    }
    for name, value in around.items():
        monkeypatch.setenv(f"GWSYNC_{name}", value)
    found = gwsync.Config.discover()
    assert (found.url, found.gateway_url) == (elected.redis.url, "wss://box.ts.net")
    assert found.token == token
    assert found.sources["gateway_url"] == "GWSYNC_GATEWAY_URL"
    assert gwsync.Config.discover(gateway_url="wss://other.ts.net").token is None
    monkeypatch.delenv("GWSYNC_OWNER")
    assert gwsync.Config.discover().token is None
