"""Which hosts may be spoken to in clear: as OpenClaw's own client has it, or stricter."""

from __future__ import annotations

import json
import subprocess

from gwsync import ConfigError
from gwsync.endpoint import parse
from real.install import ensure, ensure_official_client
from unit.test_endpoint import NEVER_PLAIN, PLAIN

# The rule is not exported: exported while it is loaded, unchanged otherwise.
SOURCE = """
import { registerHooks } from "node:module";
registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith("/gateway-client/dist/index.mjs")) return loaded;
    return { ...loaded, source: `${loaded.source}\\nexport { isSecureWebSocketUrl };` };
  },
});
const { isSecureWebSocketUrl } = await import("@openclaw/gateway-client");
const urls = JSON.parse(process.argv[1]);
console.log(JSON.stringify(urls.map((url) => isSecureWebSocketUrl(url))));
"""
# JavaScript reads these as 127.0.0.1, and resolvers do not agree on what they are.
STRICTER = {"127.1", "2130706433", "0x7f000001", "017700000001"}


def allowed(url: str) -> bool:
    try:
        parse(url)
    except ConfigError:
        return False
    return True


def test_the_hosts_are_those_of_the_official_client() -> None:
    hosts = [*PLAIN, *NEVER_PLAIN]
    urls = [f"ws://{host}:18789" for host in hosts]
    done = subprocess.run(
        [ensure().node, "--input-type=module", "--eval", SOURCE, json.dumps(urls)],
        cwd=ensure_official_client(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    theirs = dict(zip(hosts, json.loads(done.stdout), strict=True))
    ours = {host: allowed(url) for host, url in zip(hosts, urls, strict=True)}
    assert len(hosts) >= 30
    assert {host for host in hosts if ours[host] != theirs[host]} == STRICTER
    assert not any(ours[host] for host in STRICTER)
