"""What a conversation costs: the time of a first word, and of ten thousand deltas.

    python benchmarks/chat.py

The first part asks a LocalGateway, whose agent events carry the moment in which they were made. The
second feeds recorded-like events to the state machine and counts: an answer ten times as long must
take about ten times as long, but for what the wire itself repeats.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

import gwsync
from gwsync.api.run_state import RunState
from gwsync.protocol.frames import encode_value
from gwsync.testing import LocalGateway
from gwsync.values import Event

CHATS = 200


def first_words() -> list[float]:
    """Milliseconds from the gateway's sending a first delta to the caller's having it."""
    took = []
    with LocalGateway() as gateway, tempfile.TemporaryDirectory() as state_dir:
        config = gwsync.Config(url=gateway.url, token=gateway.token, state_dir=state_dir)
        sent: dict[str, float] = {}
        with gwsync.Connection(config) as connection:
            connection.connect()
            gateway.on_method("chat.send", lambda params: {"runId": params["idempotencyKey"]})
            for at in range(CHATS):
                run = connection.chat("hello", f"s{at}")
                words: dict[str, Any] = {"runId": run.run_id, "seq": 1, "state": "delta"}
                sent[run.run_id] = time.perf_counter()
                gateway.push("chat", {**words, "deltaText": "one"})
                next(iter(run))
                took.append((time.perf_counter() - sent[run.run_id]) * 1000)
    return took


def deltas(count: int, form: str) -> tuple[float, float]:
    """Processor seconds for ``count`` deltas, decoding included; for the decoding alone."""
    raws, text = [], ""
    for at in range(count):
        piece = f" word{at % 10}"
        text += piece
        payload: dict[str, Any] = {"runId": "r", "seq": at, "state": "delta"}
        if form != "cumulative":
            payload["deltaText"] = piece
        if form != "bare":
            content = [{"type": "text", "text": text}]
            payload["message"] = {"role": "assistant", "content": content}
        raws.append(encode_value(payload))
    began = time.process_time()
    for raw in raws:
        Event("chat", raw).payload  # noqa: B018
    decoding = time.process_time() - began
    state = RunState("r", "main")
    began = time.process_time()
    heard = [one.text for raw in raws for one in state.hear("chat", Event("chat", raw).payload)]
    took = time.process_time() - began
    assert "".join(heard) == text
    return took, decoding


def main() -> None:
    took = sorted(first_words())
    print(
        f"first word, {CHATS} chats: median {statistics.median(took):.2f} ms, "
        f"p95 {took[int(CHATS * 0.95)]:.2f} ms, worst {took[-1]:.2f} ms"
    )
    for form in ("bare", "both", "cumulative"):
        small, large = deltas(1_000, form), deltas(10_000, form)
        own = [total - decoding for total, decoding in (small, large)]
        print(
            f"{form:10} 1,000 deltas {small[0] * 1000:7.1f} ms, 10,000 {large[0] * 1000:8.1f} ms: "
            f"x{large[0] / small[0]:5.1f}; without decoding "
            f"{own[0] * 1000:6.2f} and {own[1] * 1000:7.2f} ms"
        )


if __name__ == "__main__":
    main()
