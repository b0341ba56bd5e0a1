"""The table of every case; names are unique and begin with the row of FAULTS.md."""

from __future__ import annotations

from faults import cases_frames, cases_handshake, cases_open, cases_upgrade
from faults.case import Case, Stays
from faults.hostile import Peer

CASES: list[Case] = [
    *cases_upgrade.CASES,
    *cases_handshake.CASES,
    *cases_frames.CASES,
    *cases_open.CASES,
]


def _large_hello(peer: Peer) -> None:
    presence = [{"host": f"box-{n}", "text": "x" * 200} for n in range(75_000)]
    peer.shake(snapshot={"presence": presence, "health": {}, "stateVersion": {}})
    peer.serve()


# By itself, since what it holds is legal, and as much as all the others may.
LARGE_HELLO = Case("47-hello-of-20-mb", "hello", _large_hello, Stays(), bound_s=2.0)
