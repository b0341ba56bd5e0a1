"""What the attacked process holds and feels: memory, descriptors, threads, greenlets, lag."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

import gevent
from greenlet import greenlet

from conformance.tools import eventually
from gwsync.runtime.hub import get_hub_thread

_PAGE = os.sysconf("SC_PAGE_SIZE")
_BEAT_S = 0.01


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


class Gauges:
    """From the start on: the highest memory, and the longest the hub was late."""

    def __init__(self) -> None:
        self.hub = get_hub_thread()
        gc.collect()
        self.peak = self.before = rss_bytes()
        self.lags: list[float] = []
        self._held = self.held()
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        self.hub.spawn(self._beat)

    def _sample(self) -> None:
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, rss_bytes())

    def _beat(self) -> None:
        while not self._stop.is_set():
            due = time.monotonic() + _BEAT_S
            gevent.sleep(_BEAT_S)
            self.lags.append(time.monotonic() - due)

    def stop(self) -> None:
        self._stop.set()
        self._sampler.join()

    @property
    def grown(self) -> int:
        return self.peak - self.before

    def held(self) -> dict[str, int]:
        """What must be as much afterwards as before."""
        gc.collect()
        return {
            "fds": len(os.listdir("/proc/self/fd")),
            "threads": len(os.listdir("/proc/self/task")),
            "greenlets": sum(
                issubclass(type(item), greenlet) and not item.dead for item in gc.get_objects()
            ),
        }

    def leaked(self, timeout: float) -> dict[str, int]:
        """What is held beyond the beginning, once callback threads had time to go."""
        more: dict[str, int] = {}

        def settled() -> bool:
            more.clear()
            more.update({k: n - self._held[k] for k, n in self.held().items() if n > self._held[k]})
            return not more

        try:
            eventually(settled, "nothing is held any more", timeout)
        except AssertionError:
            return more
        return {}
