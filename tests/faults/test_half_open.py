"""A half-open link, for real: the kernel drops packets, and both sockets stay open.

Two network namespaces with a pair of virtual interfaces between them; nothing outside is
touched, and the kernel forgets all of it with the two programs. It takes ``unshare``
and ``ip`` (util-linux, iproute2), and root or a kernel that allows user namespaces.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.tools import Program, elapsed_below

PING_S = 0.5  # ping_interval and ping_timeout

GATEWAY = """
import subprocess, sys
from gwsync.testing import LocalGateway
print("apart", flush=True)
sys.stdin.readline()
subprocess.run(["ip", *"address add 10.99.0.2/24 dev far".split()], check=True)
subprocess.run(["ip", *"link set far up".split()], check=True)
with LocalGateway(host="10.99.0.2", token="a-token") as gateway:
    print(gateway.url, flush=True)
    for line in sys.stdin:
        subprocess.run(["ip", *line.split()], check=True)
        print("done", flush=True)
"""

# In a namespace of its own already; the gateway gets another one.
CLIENT = """
import queue, subprocess, sys, threading
import gwsync
gateway = subprocess.Popen(
    ["unshare", "--net", sys.executable, "-c", {gateway!r}],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)

def tell(words):
    gateway.stdin.write(words + "\\n")
    gateway.stdin.flush()
    return gateway.stdout.readline().strip()

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

def say(line):  # whole, as several threads do
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()

def ask(connection):
    say(f"health {{connection.request('health', timeout=60)['ok']}}")

def state(push):
    if isinstance(push, gwsync.StateChange):
        say(push.state)
        states.put(push.state)

states = queue.SimpleQueue()
try:
    assert gateway.stdout.readline().strip() == "apart"
    ip(f"link add near type veth peer name far netns {{gateway.pid}}")
    ip("address add 10.99.0.1/24 dev near")
    ip("link set near up")
    config = gwsync.Config(
        url=tell("go"), token="a-token", allow_plaintext=True,
        ping_interval={ping}, ping_timeout={ping}, stage_timeouts=(("tcp", 1.0),),
        reconnect=gwsync.ReconnectPolicy(first=0.1, spread=0.1, multiplier=0.1, max=0.1),
    )
    with gwsync.Connection(config) as connection:
        connection.subscribe(state)
        connection.connect()
        assert states.get(timeout=30) == "connected"
        ask(connection)
        assert tell({strike!r}) == "done"
        say("struck")
        assert states.get(timeout=60) == "waiting"
        asking = threading.Thread(target=ask, args=(connection,))
        asking.start()
        assert tell({heal!r}) == "done"
        asking.join()
finally:
    gateway.stdin.close()
    gateway.wait(30)
    gateway.stdout.close()
"""

FAULTS = {
    "answers vanish": ("route add blackhole 10.99.0.1/32", "route del blackhole 10.99.0.1/32"),
    "nothing comes through": ("link set far down", "link set far up"),
}


# ip lives where only root's PATH leads
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--net"]


def allowed() -> bool:
    """Whether this machine has the programs, and lets us have a network of our own."""
    try:
        made = subprocess.run([*UNSHARE, "ip", "link"], env=ENVIRONMENT, capture_output=True)
    except FileNotFoundError:
        return False
    return made.returncode == 0


class Apart(Program):
    """The client in a network namespace of its own, with its gateway in another."""

    def __init__(self, state: Path, strike: str, heal: str) -> None:
        source = CLIENT.format(gateway=GATEWAY, ping=PING_S, strike=strike, heal=heal)
        super().__init__(
            [*UNSHARE, sys.executable, "-c", source],
            {**ENVIRONMENT, "GWSYNC_STATE_DIR": str(state)},
        )


@pytest.mark.skipif(not allowed(), reason="needs ip, unshare and the right to use them")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_half_open_link_is_noticed_and_replaced(fault: str, tmp_path: Path) -> None:
    with Apart(tmp_path, *FAULTS[fault]) as client:
        client.expect("connected")
        client.expect("health True")
        client.expect("struck")
        with elapsed_below(2 * PING_S + 1.0, "noticing a half-open link"):
            client.expect("waiting")
        # The line is back, and so is the answer to what was asked meanwhile; two threads say so.
        due = {"connected", "health True"}
        client.read_until(lambda line: due.discard(line) or not due, "the line, and an answer")
        code, errors = client.end()
        assert (code, errors) == (0, "")
