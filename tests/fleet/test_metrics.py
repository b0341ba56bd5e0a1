"""A fleet's figures for Prometheus."""

from __future__ import annotations

from typing import Any

import pytest

import gwsync
from conformance.tools import eventually
from fleet.support import RENEWED_S, SECRET, Fleet
from gwsync.fleet.metrics import Collector

client: Any = pytest.importorskip("prometheus_client")


def scrape(collector: Collector) -> dict[str, float]:
    registry = client.CollectorRegistry()
    registry.register(collector)
    text = client.generate_latest(registry).decode()
    assert SECRET not in text
    found = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name.partition("{host")[0]: float(value) for name, value in found}


def test_the_figures_of_a_fleet(fleet: Fleet) -> None:
    collector = Collector(fleet.redis.url, "test")
    before = scrape(collector)
    assert (before["gwsync_fleet_redis_up"], before["gwsync_fleet_owner"]) == (1.0, 0.0)
    assert "gwsync_fleet_lease_age_seconds" not in before
    fleet.owner(lease_s=RENEWED_S)
    worker = fleet.worker()
    for _ in range(3):
        assert worker.request("health", timeout=20)["ok"] is True
    with fleet.redis.client() as redis:
        redis.xadd("gwsync:{test}:calls", {"d": "forged"})

    def told() -> dict[str, float]:  # once a second, by the owner
        found = scrape(collector)
        there = (
            found.get("gwsync_fleet_calls_performed_total", 0) >= 3
            and found.get("gwsync_fleet_messages_refused_total", 0) == 1
        )
        return found if there else {}

    found = eventually(told, "what the owner tells of itself")
    assert found["gwsync_fleet_owner_connected"] == 1.0
    assert found["gwsync_fleet_lease_seconds"] == RENEWED_S
    assert 0 <= found["gwsync_fleet_lease_age_seconds"] <= RENEWED_S
    assert found["gwsync_fleet_workers"] == 1.0
    assert found["gwsync_fleet_calls_in_flight"] == 0.0
    assert found["gwsync_fleet_backlog_pushes"] == 0.0
    assert found["gwsync_fleet_sockets_opened_total"] >= 1.0
    assert found["gwsync_fleet_pushes_total"] >= found["gwsync_fleet_pushes_published_total"] > 0
    assert found['gwsync_fleet_stream_entries{stream="pushes"}'] > 0
    assert found["gwsync_fleet_lag_pushes"] >= 0
    fleet.redis.stop()
    assert scrape(collector) == {"gwsync_fleet_redis_up": 0.0}


def test_what_it_needs_is_said_at_once() -> None:
    for url, name in (("redis://127.0.0.1:none/0", "test"), ("redis://127.0.0.1/0", "a b")):
        with pytest.raises(gwsync.ConfigError):
            Collector(url, name)
