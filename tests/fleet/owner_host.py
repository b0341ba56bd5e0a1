"""A process that owners live in: one JSON object a line on stdin starts or stops one of them."""

from __future__ import annotations

import json
import sys
from typing import Any

import gwsync
from gwsync.fleet.owner import Owner

LEASE_S = 20.0  # no case is about failover, and a busy machine must not make one


def config(options: dict[str, Any]) -> gwsync.Config:
    fixed = {name: tuple(one) if isinstance(one, list) else one for name, one in options.items()}
    return gwsync.Config(**fixed)


def main() -> None:
    owners: dict[str, Owner] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        name = asked["name"]
        if asked["do"] == "stop":
            owners.pop(name).stop()
        else:
            meeting, gateway = config(asked["meeting"]), config(asked["gateway"])
            owners[name] = Owner(meeting, gateway, lease_s=LEASE_S).start()
        print(name, flush=True)
    for owner in owners.values():
        owner.stop()


if __name__ == "__main__":
    main()
