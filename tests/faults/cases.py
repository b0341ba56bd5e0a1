"""The table of every case; names are unique and begin with the row of FAULTS.md."""

from __future__ import annotations

from faults import cases_frames, cases_handshake, cases_open, cases_upgrade
from faults.case import Case

CASES: list[Case] = [
    *cases_upgrade.CASES,
    *cases_handshake.CASES,
    *cases_frames.CASES,
    *cases_open.CASES,
]
