"""Puts a real OpenClaw gateway into a cache directory, through npm and nothing else.

One directory per gateway release and one per Node major, so that releases which need
different Nodes live side by side. A directory appears under its final name only when it is
complete: npm works in a temporary one, which is then renamed. A file lock keeps two processes
from installing at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

RELEASES = ("2026.9.6", "2026.5.28", "2026.2.26")  # what the tests run on, newest first
DEFAULT_VERSION = os.environ.get("GWSYNC_REAL_GATEWAY_VERSION", RELEASES[0])
OFFICIAL_CLIENT = "@openclaw/gateway-client"
OFFICIAL_CLIENT_VERSION = "2026.9.1"
OFFICIAL_SCHEMA = "@openclaw/gateway-protocol"  # of the same version
NPM_TIMEOUT_S = 300.0
NPM_TRIES = 3  # a registry hiccup must not fail a whole run
NPM_FLAGS = ("--no-audit", "--no-fund", "--loglevel=error")

# Releases before 2026.5 depend on a git+ssh package and, through the newest linkedom, on one
# that cannot be had. Neither is used here: no channel is started, no page is read.
OLD_OVERRIDES = {"@whiskeysockets/baileys": "npm:ms@2.1.3", "linkedom": "0.18.12"}


class InstallError(Exception):
    """npm is missing or failed; the text has its last lines."""


class Installed(NamedTuple):
    """Where the two programs are."""

    node: Path
    openclaw: Path


def release(version: str) -> tuple[int, ...]:
    """``"2026.9.6"`` as ``(2026, 9, 6)``, so that releases compare."""
    return tuple(int(part) for part in version.split(".")[:3])


def node_major(version: str) -> int:
    """The Node major that a gateway release runs on (its ``engines.node``)."""
    return 24 if release(version) < (2026, 8) else 26


def cache_root() -> Path:
    """``$GWSYNC_REAL_GATEWAY_CACHE``, else ``gwsync-real-gateway`` in the user's cache."""
    if explicit := os.environ.get("GWSYNC_REAL_GATEWAY_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "gwsync-real-gateway"


def ensure(version: str = DEFAULT_VERSION) -> Installed:
    """Install Node and the gateway if they are not in the cache yet."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    gateway_dir = root / version
    with lock(root / "install.lock"):
        node = ensure_node(root, node_major(version))
        installed = Installed(node, gateway_dir / "node_modules" / "openclaw" / "openclaw.mjs")
        if not installed.openclaw.exists():
            _install_gateway(gateway_dir, version, installed.node)
    return installed


def ensure_official_client(version: str = OFFICIAL_CLIENT_VERSION) -> Path:
    """Install OpenClaw's own JavaScript client; a directory from which Node can import it."""
    return ensure_package(OFFICIAL_CLIENT, version)


def schema_path(version: str = OFFICIAL_CLIENT_VERSION) -> Path:
    """Where :func:`ensure_schema` puts the official schema of what a gateway takes."""
    directory = cache_root() / f"gateway-protocol-{version}"
    return directory / "node_modules" / OFFICIAL_SCHEMA / "protocol.schema.json"


def ensure_schema(version: str = OFFICIAL_CLIENT_VERSION) -> Path:
    """Get that schema, and no gateway: it is there in seconds."""
    root, path = cache_root(), schema_path(version)
    root.mkdir(parents=True, exist_ok=True)
    with lock(root / "install.lock"):
        if not path.exists():
            with staging(root / f"gateway-protocol-{version}") as work:
                write_package(work, "schema-for-tests")
                _npm(work, f"{OFFICIAL_SCHEMA}@{version}")
    return path


def ensure_package(name: str, version: str) -> Path:
    """Install a package of npm; a directory from which Node can import it."""
    node = ensure().node
    root = cache_root()
    directory = root / f"{name.rpartition('/')[2]}-{version}"
    with lock(root / "install.lock"):
        if not (directory / "node_modules" / name / "package.json").exists():
            with staging(directory) as work:
                write_package(work, "package-for-tests")
                _npm(work, f"{name}@{version}", node=node)
    return directory


def ensure_node(root: Path, major: int) -> Path:
    """Node of that major version, in a directory of ``root``; under the lock."""
    directory = root / f"node-{major}"
    if not _node_in(directory).exists():
        _install_node(directory, major)
    return _node_in(directory)


def _install_node(target: Path, major: int) -> None:
    with staging(target) as work:
        write_package(work, "node-for-gateway")
        _npm(work, f"node@{major}")
        if not _works(_node_in(work)):
            _link_platform_node(work)
        if not _works(_node_in(work)):
            raise InstallError(f"npm installed node@{major}, but its binary does not run")


def _link_platform_node(work: Path) -> None:
    """Some npm versions skip the package's install script: fetch the binary's own package."""
    meta = json.loads((work / "node_modules" / "node" / "package.json").read_text())
    system = {"Linux": "linux", "Darwin": "darwin"}[platform.system()]
    arch = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    package = f"node-bin-{system}-{arch}" if system == "darwin" else f"node-{system}-{arch}"
    names = dict.fromkeys((package, f"node-{system}-{arch}", f"node-bin-{system}-{arch}"))
    for name in names:
        with contextlib.suppress(InstallError):
            _npm(work, f"{name}@{meta['version']}", tries=1)
            break
    binaries = [path for path in work.glob("node_modules/**/bin/node") if path.is_file()]
    if not binaries:
        raise InstallError(f"no node binary came with node@{meta['version']}")
    link = _node_in(work)
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    # relative, since the directory is renamed once it is complete
    link.symlink_to(os.path.relpath(binaries[0], link.parent))


def _install_gateway(target: Path, version: str, node: Path) -> None:
    with staging(target) as work:
        overrides = OLD_OVERRIDES if release(version) < (2026, 5) else {}
        write_package(work, "gateway-for-tests", overrides)
        _npm(work, f"openclaw@{version}", node=node)


def _node_in(directory: Path) -> Path:
    return directory / "node_modules" / ".bin" / "node"


def _works(node: Path) -> bool:
    if not node.exists():
        return False
    done = subprocess.run([node, "-v"], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def write_package(work: Path, name: str, overrides: Mapping[str, str] | None = None) -> None:
    package: dict[str, object] = {"name": name, "version": "0.0.0", "private": True}
    if overrides:
        package["overrides"] = dict(overrides)
    (work / "package.json").write_text(json.dumps(package))


def _npm(work: Path, spec: str, *, node: Path | None = None, tries: int = NPM_TRIES) -> None:
    npm(work, "install", *NPM_FLAGS, spec, node=node, tries=tries)


def npm(
    work: Path,
    *words: str,
    node: Path | None = None,
    tries: int = NPM_TRIES,
    settings: Mapping[str, str] | None = None,
) -> None:
    """``npm WORDS`` in ``work``; the scripts of packages run on ``node`` if given."""
    command, env = _npm_command(), {**os.environ, **(settings or {})}
    what = " ".join(("npm", *(word for word in words if word not in NPM_FLAGS)))
    if node is not None and len(command) > 1:
        env["PATH"] = f"{node.parent}{os.pathsep}{env.get('PATH', '')}"
    tail = ""
    for _ in range(tries):
        print(what, file=sys.stderr, flush=True)
        try:
            done = subprocess.run(
                [*command, *words],
                cwd=work,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=NPM_TIMEOUT_S,
                text=True,
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired:
            tail = f"no end after {NPM_TIMEOUT_S:.0f} s"
            continue
        if done.returncode == 0:
            return
        tail = "\n".join(done.stdout.splitlines()[-20:])
    raise InstallError(f"{what} failed {tries} times; the last time:\n{tail}")


def _npm_command() -> list[str]:
    """The system's npm on the system's Node, whatever PATH says.

    npm looks for its global settings (a company's certificates, a registry) beside the Node
    that runs it, so the Node we installed must not run it.
    """
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None:
        raise InstallError("npm is needed, and there is none on PATH")
    script = os.path.realpath(npm)
    return [node, script] if node and script.endswith(".js") else [npm]


@contextlib.contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A temporary sibling that becomes ``target`` when the block ends well."""
    work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        yield work
        work.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)  # half an install of an older kind
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # let go when the file is closed, or we die
        yield


if __name__ == "__main__":
    if sys.argv[1:] == ["schema"]:
        print(ensure_schema())
        sys.exit()
    if sys.argv[1:] == ["newest"]:
        print(*ensure())
        sys.exit()
    for wanted in sys.argv[1:] or RELEASES:
        for place in ensure(wanted):
            print(place)
    print(ensure_official_client())
    print(ensure_schema())
