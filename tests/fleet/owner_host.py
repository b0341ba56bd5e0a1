"""A process that owners live in: one JSON object a line on stdin starts or stops one of them.

Its answer is the fleet's name, when the owner has gone, or waits for its turn.
"""

from __future__ import annotations

import json
import sys
import threading
from functools import partial
from typing import Any

import gwsync
from conformance.tools import WAIT_S
from fleet.support import LASTING_S
from gwsync.fleet.owner import Owner


def heard(looked: threading.Event, word: str) -> None:
    looked.set()


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
            looked = threading.Event()
            told = partial(heard, looked)
            owners[name] = Owner(meeting, gateway, lease_s=LASTING_S, told=told).start()
            looked.wait(WAIT_S)
        print(name, flush=True)
    for owner in owners.values():
        owner.stop()


if __name__ == "__main__":
    main()
