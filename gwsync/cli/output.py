"""The only module of the command line that prints, and it prints nothing unsafe.

``api.display`` makes text safe. Every line is flushed, so that a pipe's other end sees
it now.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from traceback import format_exception
from typing import Any, TextIO

import click

from ..api.display import fit, json_line, safe
from ..errors import ConfigError

WIDTH = 80


class OutputError(Exception):
    """Our output cannot be written, for example to a full disk."""


def json_text(value: Any, *, pretty: bool = False) -> str:
    """``value`` as JSON that this stdout can take."""
    return json_line(value, ascii_only=not _speaks_unicode(sys.stdout), pretty=pretty)


def _speaks_unicode(stream: TextIO | None) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"


def clock() -> str:
    """The time of day, for lines that come as things happen."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")[11:23]


def shown(text: str) -> str:
    """``text`` made safe, and on a terminal as wide as that is."""
    text = safe(text).rstrip()
    return fit(text, terminal_width()) if on_terminal() else text


def plain(text: str) -> str:
    """``text`` as this stdout can take it, whole: for programs that read it."""
    return safe(text)


# -- writing ------------------------------------------------------------------------------
def on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def terminal_width() -> int:
    return max(shutil.get_terminal_size().columns, 20)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # closed before we began: `gwsync ... >&-`
        return
    if not _speaks_unicode(stream):
        text = text.encode(stream.encoding, "backslashreplace").decode(stream.encoding)
    stream.write(text)
    stream.flush()


def line(text: str = "") -> None:
    """One line (or several) on stdout. Raises BrokenPipeError and OutputError."""
    _stdout(f"{text}\n")


def _stdout(text: str) -> None:
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon()
        raise OutputError(f"the output cannot be written: {error.strerror}") from None


def words(text: str) -> None:
    """A piece of a text on stdout, as it comes: its lines stay lines, and nothing else acts."""
    shown = "\n".join("\t".join(map(safe, part.split("\t"))) for part in text.split("\n"))
    try:
        _write(sys.stdout, shown)
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon()
        raise OutputError(f"the output cannot be written: {error.strerror}") from None


def converses() -> bool:
    """Whether a person sits at both ends: types, and sees what comes."""
    return on_terminal() and sys.stdin is not None and sys.stdin.isatty()


def value(data: Any) -> None:
    """``data`` as JSON on stdout: indented for eyes, on one line for programs."""
    line(json_text(data, pretty=on_terminal()))


def note(text: str) -> None:
    """One line on stderr."""
    with contextlib.suppress(OSError):
        _write(sys.stderr, f"{safe(text)}\n")


def progress(text: str) -> None:
    """Write over the last line of a terminal's stderr; an empty text takes it away."""
    with contextlib.suppress(OSError):
        _write(sys.stderr, f"\r\x1b[K{fit(safe(text), terminal_width() - 1)}")


class Screen:
    """Lines at the end of a terminal that are drawn over. Without one, they are written below."""

    def __init__(self) -> None:
        self.live = on_terminal() and os.environ.get("TERM", "") != "dumb"
        self.unicode = _speaks_unicode(sys.stdout)
        self._lines = 0

    @property
    def height(self) -> int:
        return max(shutil.get_terminal_size().lines - 1, 4) if self.live else 50

    @property
    def width(self) -> int:
        return terminal_width() - 1 if self.live else WIDTH

    def draw(self, lines: list[str]) -> None:
        up = f"\x1b[{self._lines}A\r" if self.live and self._lines else ""
        erase = "\x1b[K" if self.live else ""
        rest = "\x1b[J" if self.live else ""
        body = "".join(f"{text}{erase}\n" for text in lines)
        _stdout(f"{up}{body}{rest}")
        self._lines = len(lines)


def error(message: str, hint: str = "") -> None:
    """What went wrong, and the next step."""
    note(f"gwsync: {message}")
    if hint:
        note(f"  -> {hint}")


def ask(name: str) -> str:
    """A secret, typed where nobody reads along. Raises ConfigError without a terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            f"there is no terminal to ask for the {name} on",
            hint=f"give --{name}-file FILE, or set GWSYNC_{name.upper()}",
        )
    typed: str = click.prompt(name.capitalize(), hide_input=True, err=True)
    return typed


def end_of_interrupt() -> None:
    """A terminal has just shown ^C, without a line end."""
    if sys.stderr is not None and sys.stderr.isatty():
        note("")


def traceback(problem: BaseException) -> None:
    """For an internal bug, with -vv."""
    for chunk in format_exception(type(problem), problem, problem.__traceback__):
        for text in chunk.rstrip().split("\n"):
            note(text)


def abandon() -> None:
    """Nobody reads stdout any more: let the interpreter's last flush go nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class LogHandler(logging.Handler):
    """gwsync's log lines on stderr, in the order and at the time they come."""

    def emit(self, record: logging.LogRecord) -> None:
        when = self.formatter or _CLOCK
        note(f"{when.formatTime(record)} {record.name}: {record.getMessage()}")
        if record.exc_info and record.exc_info[1] is not None:
            traceback(record.exc_info[1])


class _Clock(logging.Formatter):
    default_time_format = "%H:%M:%S"
    default_msec_format = "%s.%03d"


_CLOCK = _Clock()


# -- the demo's page ------------------------------------------------------------------------
class Page:
    """Text of at most 80 columns: headings, code, indented lines. For any thread."""

    def __init__(self) -> None:
        self._colour = on_terminal() and not os.environ.get("NO_COLOR")

    def heading(self, text: str) -> None:
        self._line("")
        self._line(text, lambda shown: click.style(shown, bold=True))
        self._line("")

    def code(self, *lines: str) -> None:
        """What the user would have typed."""
        for text in lines:
            self._line(f"   {text}", lambda shown: click.style(shown, fg="cyan"))

    def say(self, text: str = "") -> None:
        self._line(f"   {text}" if text else "")

    def plain(self, text: str) -> None:
        self._line(text)

    def _line(self, text: str, style: Callable[[str], str] | None = None) -> None:
        shown = fit(safe(text), WIDTH)
        line(style(shown) if style is not None and self._colour else shown)
