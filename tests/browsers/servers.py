"""What people reach with a browser beside JupyterLab: VS Code's server, and a terminal.

Each has its home, its settings and its sockets in a directory of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from proxies.process import Server

from . import install

PROMPT = "ready> "
# nothing that asks the network, nothing that comes up by itself, no key that types for two
CODE_SETTINGS = {
    "chat.disableAIFeatures": True,
    "editor.autoClosingBrackets": "never",
    "editor.quickSuggestions": {"comments": "off", "other": "off", "strings": "off"},
    "extensions.autoCheckUpdates": False,
    "files.autoSave": "off",
    "git.enabled": False,
    "remote.autoForwardPorts": False,
    "telemetry.telemetryLevel": "off",
    "terminal.integrated.defaultProfile.linux": "plain",
    "terminal.integrated.gpuAcceleration": "off",  # its rows are text of the page
    "terminal.integrated.profiles.linux": {
        "plain": {"path": "bash", "args": ["--norc", "--noprofile"], "env": {"PS1": PROMPT}}
    },
    "terminal.integrated.shellIntegration.enabled": False,
    "workbench.enableExperiments": False,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
}


class NodeServer(Server):
    """A program of npm; in ``folder`` is what it shows."""

    def __enter__(self) -> NodeServer:
        return super().__enter__()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def folder(self) -> Path:
        return self.directory / "folder"

    def at_home(self, installed: install.Installed, *words: str) -> Sequence[str]:
        self.folder.mkdir(exist_ok=True)
        names = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        homes = [f"{name}={self.directory}" for name in (*names, "XDG_RUNTIME_DIR")]
        here = f"--chdir={self.folder}"
        return ["env", here, *homes, f"PS1={PROMPT}", *map(str, installed), *words]


class CodeServer(NodeServer):
    """VS Code in the browser, its folder open."""

    name = "code-server"

    def command(self) -> Sequence[str]:
        user = self.directory / "User"
        user.mkdir(exist_ok=True)
        (user / "settings.json").write_text(json.dumps(CODE_SETTINGS))
        return self.at_home(
            install.code_server(),
            *(f"--bind-addr={self.address}", "--auth=none", "--disable-telemetry"),
            *(f"--config={self.directory}/code-server.yaml", f"--user-data-dir={self.directory}"),
            *("--disable-update-check", "--disable-workspace-trust", str(self.folder)),
        )


class Wetty(NodeServer):
    """A shell in the browser, over socket.io: requests first, then a WebSocket."""

    name = "wetty"

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base  # of all the addresses in its pages

    def command(self) -> Sequence[str]:
        return self.at_home(
            install.wetty(),
            *(f"--host={self.host}", f"--port={self.port}", f"--base={self.base}"),
            "--command=bash --norc --noprofile",
        )
