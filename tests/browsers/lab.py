"""JupyterLab as people have it, in a real Chromium: what the tests of notebooks drive.

Everything is on loopback, in a directory of the test's own; the browser asks nobody else.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, sync_playwright

from conformance.tools import eventually

WAIT_S = 60.0
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight stay there
}
READY = """async () => {
    const context = jupyterapp.shell.currentWidget.context.sessionContext;
    await context.ready;
    await context.session.kernel.info;
}"""


class Lab:
    """A JupyterLab server, and the notebooks in its directory."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self._home = home
        self._env = env
        self._token = secrets.token_hex(16)
        self.notebooks = home / "notebooks"
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[Lab]:
        self.notebooks.mkdir()
        self.settings(SETTINGS)
        places = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
        env = {f"JUPYTER_{name}": str(self._home / name.lower()) for name in places}
        env |= {"IPYTHONDIR": str(self._home / "ipython")}
        env |= {"JUPYTERLAB_SETTINGS_DIR": str(self._home / "settings")}
        env |= {"JUPYTERLAB_WORKSPACES_DIR": str(self._home / "workspaces")}
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ip=127.0.0.1", "--port=0", f"--IdentityProvider.token={self._token}"),
            f"--ServerApp.root_dir={self.notebooks}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            *("--LabApp.news_url=None", "--LabApp.extension_manager=readonly"),
            "--LabApp.expose_app_in_browser=True",
        ]
        with (self._home / "log").open("wb") as log:
            server = subprocess.Popen(
                command,
                env={**os.environ, **env, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.url = eventually(lambda: self._address(server), "JupyterLab's address", WAIT_S)
            yield self
        finally:
            server.terminate()
            try:
                server.wait(20)  # it ends its kernels first
            finally:
                server.kill()
                server.wait()

    def settings(self, settings: dict[str, Any]) -> None:
        for name, values in settings.items():
            path = self._home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def open(self, page: Page, name: str) -> Notebook:
        """A notebook of the directory in a tab of its own, its kernel ready."""
        page.goto(f"{self.url}lab/tree/{name}?token={self._token}&reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.evaluate(READY)
        return Notebook(page)

    def _address(self, server: subprocess.Popen[bytes]) -> str:
        assert server.poll() is None, (self._home / "log").read_text()
        for path in (self._home / "runtime_dir").glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # being written
                return str(json.loads(path.read_text())["url"])
        return ""


class Notebook:
    """A notebook in the browser. Cells are counted from 0, those with code only."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def cell(self, at: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(at)

    def start(self, at: int) -> None:
        self.cell(at).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_function(_PROMPT, arg=[at, r"\[(\*|\d+)\]"])

    def wait(self, at: int) -> None:
        self.page.wait_for_function(_PROMPT, arg=[at, r"\[\d+\]"])

    def run(self, at: int) -> str:
        """What the cell shows when it is done."""
        self.start(at)
        self.wait(at)
        return self.output(at)

    def output(self, at: int) -> str:
        area = self.cell(at).locator(".jp-OutputArea-output")
        return "\n".join(area.all_inner_texts())

    def shows(self, at: int, words: str) -> None:
        """Waits until these words are in the cell's output."""
        area = self.cell(at).locator(".jp-OutputArea-output")
        area.filter(has_text=words).first.wait_for()

    def prompt(self, at: int) -> str:
        return self.cell(at).locator(".jp-InputPrompt").inner_text()

    def stop(self) -> None:
        """The button with the square."""
        self.page.locator("[data-command='notebook:interrupt-kernel']").first.click()


_PROMPT = """([at, like]) => new RegExp(like).test(
    document.querySelectorAll('.jp-Notebook .jp-CodeCell')[at]
        .querySelector('.jp-InputPrompt').textContent)"""


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """A page of Debian's Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program is not None, "apt-get install chromium"
    rules = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # nobody but this machine
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", f"--host-resolver-rules={rules}"]
        )
        try:
            page = chromium.new_page(viewport={"width": 1280, "height": 1600})
            page.set_default_timeout(WAIT_S * 1000)
            yield page
        finally:
            chromium.close()
