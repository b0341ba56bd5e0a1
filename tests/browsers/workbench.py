"""Hands for what has keys in it: VS Code's workbench, and any terminal of xterm.js.

A program in a browser may lose what is typed before it is ready, and does not say when it is.
So what is typed may be typed again, and what counts is what is on disk then.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, TimeoutError

from conformance.tools import eventually

from .servers import PROMPT

WAIT_S = 120.0  # keys come one by one, and each is work for the page
TRY_S = 15.0  # until it is done again
KEY_MS = 10.0


def soon(condition: Callable[[], bool], what: str) -> bool:
    """Whether it comes true before one gives up and does it again."""
    with contextlib.suppress(AssertionError):
        return eventually(condition, what, TRY_S)
    return False


class Terminal:
    """An xterm.js in the page; ``text`` says in JavaScript what is on its screen."""

    def __init__(self, page: Page, inside: str, text: str) -> None:
        self._page = page
        self.keys: Locator = page.locator(f"{inside} .xterm-helper-textarea").first
        self._screen: Locator = page.locator(f"{inside} .xterm-screen").first
        self._text = text

    def shows(self, words: str) -> None:
        """Waits until these words are in it, wherever its lines end."""
        # not wait_for_function(): a page's Content-Security-Policy may forbid what it does
        eventually(lambda: words in self._on_screen(), f"{words} in the terminal", WAIT_S)

    def _on_screen(self) -> str:
        return str(self._page.evaluate(f"({self._text}) || ''")).replace("\u00a0", " ")

    def run(self, command: str, proof: Path) -> str:
        """What the shell writes into ``proof``, in its directory, when it runs ``command``."""
        self.shows(PROMPT.strip())
        tries = itertools.count()

        def typed() -> bool:
            self._screen.click()
            if next(tries):
                self._page.keyboard.press("Control+c")  # what the try before this one left
            self._page.keyboard.type(f"{command} | tee {proof.name}\n", delay=KEY_MS)
            return soon(lambda: proof.exists() and proof.read_text() != "", str(proof))

        eventually(typed, f"what the shell was told: {command}", WAIT_S)
        return proof.read_text()


class Workbench:
    """VS Code with a folder open."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.goto(url)
        page.locator(".monaco-workbench").wait_for()
        page.locator(".explorer-folders-view .monaco-list-row").first.wait_for()

    def open(self, name: str) -> None:
        row = self.page.locator(".explorer-folders-view .monaco-list-row", has_text=name)
        row.dblclick()
        self.page.locator(".editor-instance .view-line").first.wait_for()

    def write(self, text: str, path: Path) -> None:
        """Have the file in the editor contain ``text``, and save it to where ``path`` is."""

        def written() -> bool:
            self.page.locator(".editor-instance .view-line").first.click()
            self.page.keyboard.press("Control+a")
            self.page.keyboard.type(text, delay=KEY_MS)
            self.page.keyboard.press("Control+s")
            return soon(lambda: path.read_text() == text, str(path))

        eventually(written, f"what was saved as {path}", WAIT_S)
        self.page.locator(".tab.dirty").wait_for(state="hidden")

    def terminal(self) -> Terminal:
        """A new one."""
        inside = ".terminal-wrapper.active"
        text = f"document.querySelector('{inside} .xterm-rows')?.textContent"
        terminal = Terminal(self.page, inside, text)

        def opened() -> bool:
            self.page.keyboard.press("Control+Shift+Backquote")
            with contextlib.suppress(TimeoutError):
                terminal.keys.wait_for(state="attached", timeout=TRY_S * 1000)
                return True
            return False

        eventually(opened, "a terminal", WAIT_S)
        return terminal

    def command(self, words: str) -> None:
        """By its name, as in the list of all commands."""
        self.page.keyboard.press("F1")
        box = self.page.locator(".quick-input-widget input[type=text]")
        box.wait_for()
        box.fill(f">{words}")
        self.page.locator(".quick-input-list .monaco-list-row", has_text=words).first.click()
