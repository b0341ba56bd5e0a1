"""Puts VS Code's server and a terminal for browsers into a cache directory, through npm alone.

As tests/real/install.py does it, with whose help: one directory per program and version,
complete or not there. What Linux needs is compiled (make, g++ and python3 are the machine's)
against the headers that come with the Node that runs it; nothing else is downloaded.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real.install import NPM_FLAGS, InstallError, ensure_node, lock, npm, staging, write_package

NODE = 24  # what this code-server wants, and no other
CODE_SERVER = "4.139.1"
WETTY = "3.2.0"
# What VS Code's server does not start or keep time without. The rest of what it would compile
# (Kerberos for proxies of companies, a database for its assistants) is not used here, and
# would need libraries of the machine.
COMPILED = ("@vscode/spdlog", "@vscode/native-watchdog")
NO_SCRIPTS = (*NPM_FLAGS, "--ignore-scripts", "--omit=dev")
# the newest npm runs scripts of packages only if told so; older ones do not know the word
SCRIPTS = (*NPM_FLAGS, "--dangerously-allow-all-scripts")


class Installed(NamedTuple):
    """Where they are: a program, and what it is to run."""

    node: Path
    script: Path


def cache_root() -> Path:
    """``$GWSYNC_BROWSERS_CACHE``, else ``gwsync-browsers`` in the user's cache."""
    if explicit := os.environ.get("GWSYNC_BROWSERS_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "gwsync-browsers"


def code_server() -> Installed:
    """VS Code in the browser; installed if it is not in the cache yet."""
    root = _root()
    directory = root / f"code-server-{CODE_SERVER}"
    with lock(root / "install.lock"):
        node = ensure_node(root, NODE)
        if not directory.exists():
            with staging(directory) as work:
                _install_code_server(work, node)
    return Installed(node, directory / "node_modules/code-server/out/node/entry.js")


def wetty() -> Installed:
    """A terminal in the browser; installed if it is not in the cache yet."""
    root = _root()
    directory = root / f"wetty-{WETTY}"
    with lock(root / "install.lock"):
        node = ensure_node(root, NODE)
        if not directory.exists():
            with staging(directory) as work:
                write_package(work, "wetty-for-tests")
                npm(work, "install", *NO_SCRIPTS, f"wetty@{WETTY}")
                _compile(work, node, "node-pty")
    return Installed(node, directory / "node_modules/wetty/build/main.js")


def _root() -> Path:
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    return root


def _install_code_server(work: Path, node: Path) -> None:
    """What its postinstall.sh does, by the npm of this machine and without what is not used.

    Left to itself, npm runs scripts that are not executable yet, and with the newest Node.
    """
    write_package(work, "code-server-for-tests")
    npm(work, "install", *NO_SCRIPTS, f"code-server@{CODE_SERVER}")
    code = work / "node_modules" / "code-server" / "lib" / "vscode"
    npm(code, "install", *NO_SCRIPTS)  # its npm-shrinkwrap.json says which versions
    npm(code / "extensions", "install", *NO_SCRIPTS)
    _compile(code, node, *COMPILED)


def _compile(work: Path, node: Path, *packages: str) -> None:
    for tool in ("make", "g++", "python3"):
        if shutil.which(tool) is None:
            raise InstallError(f"{tool} is needed to compile {', '.join(packages)}")
    settings = {"npm_config_nodedir": str(_headers(node))}
    npm(work, "rebuild", *SCRIPTS, *packages, node=node, settings=settings)
    for package in packages:
        if not [*(work / "node_modules" / package).glob("build/Release/*.node")]:
            raise InstallError(f"npm did not compile {package}")


def _headers(node: Path) -> Path:
    """The directory with Node's ``include``, which came in the package of its binary."""
    for header in node.parents[1].glob("**/include/node/node.h"):
        return header.parents[2]
    raise InstallError(f"no headers came with {node}")


if __name__ == "__main__":
    for program in (code_server(), wetty()):
        print(program.script)
