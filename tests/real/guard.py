"""Kills a gateway whose test process died without saying goodbye.

Runs as its own process: ``guard.py PGID DIRECTORY``. Its standard input is a pipe from the
test process. End of file without the word ``done`` means that the test process is gone
(SIGKILL, a crash); the process group and the directory that it left behind are removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

GRACE_S = 5.0


def main() -> None:
    """Wait for the pipe to close, then act."""
    group = int(sys.argv[1])
    if sys.stdin.read().strip() == "done":
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
        end = time.monotonic() + GRACE_S
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[2], ignore_errors=True)


if __name__ == "__main__":
    main()
