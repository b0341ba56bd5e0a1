"""Ten config changes in a burst while 20 threads call: one socket, every call accounted for."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import gwsync
from gwsync.testing import LocalGateway

THREADS, CHANGES = 20, 10


def test_a_burst_of_changes_under_load_loses_no_call_and_leaves_one_socket(tmp_path: Path) -> None:
    outcomes: dict[int, str] = {}  # of each call: "ok", or what its error said
    numbers = itertools.count()
    stop = threading.Event()
    everybody_called = threading.Barrier(THREADS + 1)

    with LocalGateway() as gateway:
        gateway.on_method("mark", lambda params: params["number"], inline=True)
        settings: dict[str, Any] = {"token": gateway.token, "state_dir": str(tmp_path)}
        connection = gwsync.Connection()
        connection.configure(gateway.url, **settings)

        def call() -> None:
            first = True
            while first or not stop.is_set():
                number = next(numbers)
                try:
                    assert connection.request("mark", {"number": number}, timeout=20) == number
                    outcomes[number] = "ok"
                except gwsync.GatewayError as error:
                    outcomes[number] = str(error.outcome)
                if first:
                    first = False
                    everybody_called.wait(20)

        threads = [threading.Thread(target=call) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        everybody_called.wait(20)
        for change in range(CHANGES):
            connection.configure(gateway.url, request_timeout=100 + change, **settings)
        assert connection.request("mark", {"number": -1}) == -1  # on the last config
        stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

        gateway.wait_connections(open=1, timeout=10)
        status = connection.status()
        assert (status.state, status.pending) == ("connected", 0)
        executed = [entry.params["number"] for entry in gateway.executed if entry.method == "mark"]
        connection.close()

    assert len(outcomes) >= THREADS
    assert set(outcomes.values()) <= {"ok", "not_sent", "maybe"}
    assert len(executed) == len(set(executed))  # none ran twice
    for number, outcome in outcomes.items():
        if outcome == "ok":
            assert number in executed
        elif outcome == "not_sent":
            assert number not in executed
