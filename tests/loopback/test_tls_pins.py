"""A pinned certificate in place of authorities, and a certificate of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

import gwsync
from loopback.support import WAIT_S, Bench, error_of
from loopback.support_tls import Authority, Terminator, fingerprint

CANARY = "canary-0123456789-token"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("spelling", ["plain", "colons", "prefix"])
def test_the_pin_takes_the_place_of_the_authorities(
    bench: Bench, authority: Authority, spelling: str
) -> None:
    pem = authority.issue("another.name")  # neither trusted nor this name: the pin decides
    pin = fingerprint(pem)
    pairs = ":".join(pin[i : i + 2] for i in range(0, 64, 2)).upper()
    front = Terminator(bench, pem)
    connection = bench.connection(
        url=front.url(),
        token=bench.gateway.token,
        tls_fingerprint={"plain": pin, "colons": pairs, "prefix": f"sha256:{pin}"}[spelling],
    )
    assert connection.request("health")["ok"] is True
    trace = connection.status().trace
    assert trace is not None
    assert trace.stages[2].detail.endswith("localhost pinned")


def test_another_certificate_gets_not_one_byte(bench: Bench, authority: Authority) -> None:
    pem = authority.issue("localhost")  # which the authority below would vouch for
    front = Terminator(bench, pem)
    connection = bench.connection(
        url=front.url(), token=CANARY, ca_file=authority.ca_file, tls_fingerprint="ab" * 32
    )
    error = error_of(connection.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.TlsError)
    assert fingerprint(pem) in str(error)
    assert "ab" * 32 in str(error)
    assert bench.gateway.sockets_total == 0 or bench.gateway.handshakes == []
    assert front.said == b""


@pytest.mark.parametrize("pin", ["", "ab", "zz" * 32, "ab" * 33, 7], ids=repr)
def test_a_pin_that_cannot_be_one_is_refused(pin: object) -> None:
    with pytest.raises(gwsync.ConfigError, match="64 hex digits"):
        gwsync.Config(url="wss://localhost", tls_fingerprint=pin)  # type: ignore[arg-type]


def test_a_pin_needs_tls() -> None:
    with pytest.raises(gwsync.ConfigError, match="wss"):
        gwsync.Config(url="ws://localhost", tls_fingerprint="ab" * 32)


def test_a_gateway_that_wants_to_know_its_clients(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"), clients_of=authority.ca_file)
    known = bench.connection(
        url=front.url(),
        token=bench.gateway.token,
        ca_file=authority.ca_file,
        client_cert=authority.issue("a client"),
    )
    assert known.request("health")["ok"] is True
    stranger = bench.connection(url=front.url(), token=CANARY, ca_file=authority.ca_file)
    error = error_of(stranger.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.DialError), repr(error)


def test_a_client_certificate_that_is_none(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"))
    connection = bench.connection(
        url=front.url(), token=CANARY, ca_file=authority.ca_file, client_cert=authority.ca_file
    )
    error = error_of(connection.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.ConfigError)
    assert "client_cert" in str(error)
