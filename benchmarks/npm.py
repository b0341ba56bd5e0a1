"""Node and the packages of npm that are measured, in the cache directory of tests/real."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from real.install import InstallError, ensure, ensure_official_client, ensure_package  # noqa: E402

WS_VERSION = "8.23.0"


class Packages(NamedTuple):
    node: Path
    ws: Path  # directories from which they can be imported
    official: Path


def packages() -> Packages | None:
    """Installed if they were not; None, with a line on standard error, if that cannot be."""
    try:
        return Packages(ensure().node, ensure_package("ws", WS_VERSION), ensure_official_client())
    except InstallError as error:
        print(f"without Node: {error}", file=sys.stderr)
        return None
