"""A run in a notebook's cell: its words in place as they come, until it ends.

IPython asks a value how it wants to be shown, so it is there by the time that this is used; it
is never imported for its own sake. The cell is busy meanwhile, so the stop button reaches it,
and aborts the run. Nothing here is Markdown or HTML of the model's own: whoever writes into a
conversation must not be able to run scripts in the notebook.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import limits, markup
from ..errors import GatewayError

if TYPE_CHECKING:
    from .runs import Run


def show(run: Run) -> None:
    """Show it where IPython shows things, and stay until it has ended.

    How it ended, also badly, stands below its words; only an interrupt leaves as an error.
    """
    shell = importlib.import_module("IPython").get_ipython()
    in_kernel = getattr(shell, "kernel", None) is not None
    tell: Callable[[], None] = _Cell(run) if in_kernel else _Terminal(run)
    try:
        tell()
        _follow(run, tell)
    except KeyboardInterrupt as interrupt:
        became = _stop(run)
        tell()
        # IPython's own would be a page of places inside of us
        told = [f"KeyboardInterrupt: run {run.run_id} {became}"]
        interrupt.__dict__["_render_traceback_"] = lambda: told
        raise
    tell()


def bundle(run: Run) -> dict[str, str]:
    """It as it is now: HTML, and plain text for whoever cannot show that."""
    about = f"[{', '.join(run._state_line())}]"
    said = markup.visible(run.so_far)
    plain = f"{said}\n{markup.visible(about)}" if said else markup.visible(about)
    return {"text/html": run._repr_html_(), "text/plain": plain}


def _stop(run: Run) -> str:
    """Abort it; what became of it."""
    with contextlib.suppress(GatewayError):
        run._leave(time.monotonic() + limits.ABORT_TIMEOUT_S)
        if not run.ended:  # there was nothing to abort: its end may be here already
            run._advance(time.monotonic())
    if run.aborted:
        return "was aborted"
    return "had ended" if run.ended else "goes on"


def _follow(run: Run, tell: Callable[[], None]) -> None:
    told, due = len(run._log), 0.0
    while not run.ended:
        stale = len(run._log) != told
        if stale and time.monotonic() >= due:
            tell()
            told = len(run._log)
            pause = max(limits.SHOW_EVERY_S, len(run.so_far) / limits.SHOW_CHARS_S)
            due = time.monotonic() + pause
        else:
            run._advance(due if stale else None)


class _Cell:
    """A notebook's: one output, that is replaced."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._handle: Any = None

    def __call__(self) -> None:
        if self._handle is None:
            display = importlib.import_module("IPython.display").display
            self._handle = display(bundle(self._run), raw=True, display_id=True)
        else:
            self._handle.update(bundle(self._run), raw=True)


class _Terminal:
    """IPython in a terminal: the words, none of them twice."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._shown = ""
        self._over = False

    def __call__(self) -> None:
        said = markup.visible(self._run.so_far)
        anew = "" if said.startswith(self._shown) else "\n"
        sys.stdout.write(anew + (said if anew else said[len(self._shown) :]))
        self._shown = said
        if self._run.ended and not self._over:
            self._over = True
            sys.stdout.write(f"\n[{markup.visible(', '.join(self._run._state_line()))}]\n")
        sys.stdout.flush()
