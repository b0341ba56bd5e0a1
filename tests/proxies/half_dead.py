"""A network in which one address family of a name is dead: packets to it are never answered.

:func:`command` runs a program in namespaces of its own, which the kernel forgets with it. It
takes ``unshare``, ``mount`` and ``ip`` (util-linux, iproute2), and root or a kernel that allows
user namespaces. In there are no names but these, and no way to anybody else.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .process import environment, namespace

LIVE_IPV4, LIVE_IPV6 = "10.97.0.1", "fd97::1"
DEAD_IPV4, DEAD_IPV6 = "10.98.0.2", "fd98::2"  # beyond a wire at whose end nobody listens

TIMEOUT_S = 120.0

NAMES = {
    "ipv4-alone.test": (LIVE_IPV4,),
    "ipv6-alone.test": (LIVE_IPV6,),
    "dead-ipv6.test": (DEAD_IPV6, LIVE_IPV4),
    "dead-ipv4.test": (LIVE_IPV6, DEAD_IPV4),
}

SETUP = f"""\
set -e
mount --bind hosts /etc/hosts
mount --bind nsswitch.conf /etc/nsswitch.conf
ip link set lo up
ip address add {LIVE_IPV4}/32 dev lo
ip address add {LIVE_IPV6}/128 dev lo nodad
ip link add near type veth peer name far
ip address add 10.98.0.1/24 dev near
ip address add fd98::1/64 dev near nodad
ip link set near up
ip link set far up
# an address that the other end does not take for its own
ip neighbour add {DEAD_IPV4} lladdr 02:00:00:00:00:99 nud permanent dev near
ip neighbour add {DEAD_IPV6} lladdr 02:00:00:00:00:99 nud permanent dev near
cd "$1"
shift
exec "$@"
"""


def command(words: Sequence[str], directory: Path) -> list[str]:
    """What runs ``words`` there; ``directory`` is a new one for the files it takes."""
    hosts = [f"{address} {name}" for name, found in NAMES.items() for address in found]
    hosts += ["127.0.0.1 localhost", "::1 localhost"]
    (directory / "hosts").write_text("\n".join(hosts) + "\n")
    (directory / "nsswitch.conf").write_text("hosts: files\n")
    (directory / "setup").write_text(f"cd {directory}\n{SETUP}")
    return [*namespace(), "--net", "sh", str(directory / "setup"), os.getcwd(), *words]


def run(words: Sequence[str], directory: Path) -> list[str]:
    """Run it there, with its gwsync's state in ``directory``; the lines it printed."""
    done = subprocess.run(
        command(words, directory),
        env={**environment(), "GWSYNC_STATE_DIR": str(directory / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr + done.stdout
    return done.stdout.splitlines()
