"""The command line as its users run it: a process of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType

LIMIT_S = 30.0


STEERING = ("COLUMNS", "NO_COLOR", "PYTHONIOENCODING", "PYTHONUNBUFFERED")


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would steer gwsync's choices or the way it prints."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GWSYNC_", "OPENCLAW_")) and name not in STEERING
    }
    return {**kept, **more}


def run(
    *arguments: str, env: Mapping[str, str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """``gwsync ARGUMENTS`` until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "gwsync", *arguments],
        env=environment(**env),
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )


# Passwords are read from the controlling terminal: make it the one that stdout is.
_ON_TERMINAL = (
    "-c",
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(1, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n",
)


def run_on_terminal(
    *arguments: str, env: Mapping[str, str], columns: int, typed: tuple[str, str] | None = None
) -> tuple[int, str]:
    """The same with a terminal for its output; the exit code and what one sees.

    ``typed``: a prompt, and what is then typed, for a program that reads there too.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *(_ON_TERMINAL if typed else ()), "-m", "gwsync", *arguments],
        env=environment(**env, COLUMNS=str(columns)),
        stdin=subprocess.DEVNULL if typed is None else theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL if typed is None else theirs,
        start_new_session=typed is not None,
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
            if typed is not None and typed[0].encode() in seen:
                os.write(ours, f"{typed[1]}\n".encode())
                typed = None
    except OSError:
        pass  # how Linux says that the terminal has no other end any more
    finally:
        os.close(ours)
    return process.wait(LIMIT_S), seen.decode()


class Running:
    """``gwsync ARGUMENTS`` while it runs: its lines, one by one."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gwsync", *arguments],
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.stdout = self._process.stdout
        self.noted: list[str] = []

    def line(self, containing: str = "") -> str:
        """The next line that holds these words; pytest's timeout ends a wait in vain."""
        for line in self.stdout:
            if containing in line:
                return line.rstrip("\n")
        raise AssertionError(f"it ended without saying {containing!r}: {self.end()}")

    def note(self, containing: str = "") -> str:
        """The next line of standard error that holds these words."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.noted.append(line.rstrip("\n"))
            if containing in line:
                return self.noted[-1]
        raise AssertionError(f"it ended without noting {containing!r}: {self.noted}")

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.signal(signal.SIGINT)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> tuple[int, str]:
        """Its exit code and standard error, once it has ended by itself."""
        _, errors = self._process.communicate(timeout=LIMIT_S)
        return self._process.returncode, errors

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.ended:
            self._process.kill()
            self._process.wait(LIMIT_S)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
