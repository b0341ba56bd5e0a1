"""What ``import gwsync`` may do: define things. For its time: `python -m benchmarks import`."""

from __future__ import annotations

import subprocess
import sys


def script(source: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_it_starts_no_thread_opens_no_socket_and_reads_nothing() -> None:
    """Seen by an audit hook; files are those of imports only."""
    source = """
import sys, os, threading
import email.utils, http.client, ssl  # of the standard library, and slow by themselves
seen = []
def hook(event, args):
    if event == "open":
        path = str(args[0])
        if not path.endswith((".py", ".pyc", ".so", ".pth", ".json")) and "__pycache__" not in path:
            if not path.startswith(("/proc", "/sys", "/etc/mime")):
                seen.append((event, path))
    elif event.startswith(("socket.", "subprocess.", "os.system", "os.fork", "ctypes.dlopen",
                           "os.mkdir", "os.rename", "os.remove")) and event != "socket.__new__":
        seen.append((event, args))
    elif event in ("socket.__new__", "_thread.start_new_thread", "os.exec"):
        seen.append((event, args))
sys.addaudithook(hook)
import gwsync
assert threading.active_count() == 1, threading.enumerate()
import gevent._hub_local
assert gevent._hub_local.get_hub_if_exists() is None
print(seen)
"""
    assert script(source) == "[]"


LATER = (
    "requests",
    "socks",
    "tenacity",
    "cryptography",
    "click",
    "platformdirs",
    "asyncio",
    "json5",
    "websockets",
    "certifi",
    "redis",
    "prometheus_client",
    "opentelemetry",
    "IPython",
    "gwsync.testing",
    "gwsync.cli",
    "gwsync.fleet.worker",
    "gwsync.markup",
    "gwsync.waterfall",
)


def test_what_is_only_needed_later_is_not_imported() -> None:
    source = f"import sys, gwsync; print([name for name in {LATER!r} if name in sys.modules])"
    assert script(source) == "[]"


def test_of_what_is_beyond_requests_and_pushes_only_the_doors_are_imported() -> None:
    source = "import sys, gwsync; print(*sorted(x for x in sys.modules if x[:11] == 'gwsync.api.'))"
    assert script(source) == "gwsync.api.converse gwsync.api.facets"


def test_nothing_is_patched() -> None:
    source = "import gwsync; from gevent import monkey; print(monkey.saved)"
    assert script(source) == "{}"


def test_it_costs_few_modules_beside_gevent_and_websocket() -> None:
    """Counted, not timed, so that a busy machine cannot change the verdict."""
    source = """
import sys
import gevent, gevent.event, gevent.socket, gevent.ssl, gevent.pool, websocket, msgspec
before = set(sys.modules)
import gwsync
more = sorted(set(sys.modules) - before)
print(len([name for name in more if name.startswith("gwsync")]))
print(len([name for name in more if not name.startswith("gwsync")]))
"""
    ours, others = map(int, script(source).split())
    assert ours <= 76
    assert others <= 20
