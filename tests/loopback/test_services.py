"""Figures for Prometheus, and spans of OpenTelemetry on requests."""

from __future__ import annotations

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.api.metrics import Collector
from loopback.support import Bench


def test_figures_for_prometheus(bench: Bench) -> None:
    client = pytest.importorskip("prometheus_client")
    connection = bench.connection()
    registry = client.CollectorRegistry()
    registry.register(Collector(connection.status))
    text = client.generate_latest(registry).decode()
    assert 'gwsync_state{state="idle"} 1.0' in text
    connection.request("health")
    connection.subscribe(lambda push: None)
    eventually(lambda: bool(connection.status().subscriptions), "it subscribed")
    lines = dict(
        line.rsplit(" ", 1)
        for line in client.generate_latest(registry).decode().splitlines()
        if not line.startswith("#")
    )
    assert lines['gwsync_state{state="connected"}'] == "1.0"
    assert lines["gwsync_sockets_opened_total"] == "1.0"
    assert float(lines["gwsync_frames_received_total"]) >= 3
    assert float(lines["gwsync_answer_seconds"]) > 0
    assert lines["gwsync_subscriptions"] == "1.0"


@pytest.fixture
def tracer() -> object:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    return sdk.TracerProvider().get_tracer("test")


def test_the_span_of_the_caller_goes_with_its_requests(bench: Bench, tracer: object) -> None:
    connection = bench.connection()
    recording: list[str] = []
    bench.gateway.on_method("traced", lambda params: recording.append("called"))
    with tracer.start_as_current_span("outer") as span:  # type: ignore[attr-defined]
        connection.request("traced")
        context = span.get_span_context()
    connection.request("health")
    flags = int(context.trace_flags)
    traced, plain = bench.gateway.ledger
    assert traced.traceparent == f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
    assert plain.traceparent is None


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(gwsync.ConfigError, match=r"gwsync\[prometheus\]"):
        Collector(gwsync.status)
