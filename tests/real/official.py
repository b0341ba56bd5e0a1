"""OpenClaw's own JavaScript client as a program beside the tests: what others use, unchanged."""

from __future__ import annotations

import json
import os
from typing import Any

from conformance.target import Target
from conformance.tools import WAIT_S, Program

from .install import ensure, ensure_official_client

# Says one line of JSON for all that happens: [what, value].
SOURCE = """
import { GatewayClient } from "@openclaw/gateway-client";
const say = (...line) => console.log(JSON.stringify(line));
const client = new GatewayClient({
  url: process.env.GATEWAY_URL,
  token: process.env.GATEWAY_TOKEN,
  scopes: ["operator.read", "operator.write"],
  onConnectError: (error) => say("refused", error.message),
  onEvent: (event) => say("event", event),
  onGap: (gap) => say("gap", gap),
  onClose: (code, reason) => say("closed", [code, reason]),
  onHelloOk: async (hello) => {
    say("hello", hello);
    say("health", await client.request("health"));
  },
});
// Without the timer the program ends by itself once the client has given up for good.
const alive = setInterval(() => {}, 60_000);
process.on("SIGINT", () => { clearInterval(alive); client.stop(); });
client.start();
"""


class OfficialClient(Program):
    """Connected to ``gateway`` from the start; ``end()`` after ``interrupt()``."""

    def __init__(self, gateway: Target) -> None:
        node = ensure().node
        super().__init__(
            [node, "--input-type=module", "--eval", SOURCE],
            {**os.environ, "GATEWAY_URL": gateway.url, "GATEWAY_TOKEN": gateway.token},
            cwd=ensure_official_client(),  # from where it imports
        )

    def heard(self, what: str, timeout: float = WAIT_S) -> Any:
        """What it says next of ``what``: hello, health, refused, closed or gap."""
        start = json.dumps([what])[:-1] + ","
        line = self.read_until(lambda line: line.startswith(start), f"nothing of {what}", timeout)
        return json.loads(line)[1]

    def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """The next event of that name with these fields in its payload."""
        while True:
            event: dict[str, Any] = self.heard("event")
            if event["event"] == name and fields.items() <= event["payload"].items():
                return event
