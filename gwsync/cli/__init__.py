"""The command line: ``gwsync`` and ``python -m gwsync``. Imported only when it runs."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    from .app import run

    sys.exit(run(sys.argv[1:]))
