"""``gwsync doctor`` where a real redis-server wants TLS, is silent, or serves nobody for now."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import gwsync
from conformance.tools import InThread, eventually
from doctor.support import checked, detail
from fleet.support import Fleet, free_port
from gwsync.doctor import Report, diagnose
from loopback.support_tls import Authority

PATIENT_S = 9.0  # for what is told by an answer: a busy machine is slower than three seconds
FOREVER = "while true do end"


class Secure:
    """A redis-server with a port for TLS, beside the plain one."""

    def __init__(self, directory: Path, authority: Authority, certificate: str, *more: str) -> None:
        self.port = free_port()
        self._authority = authority
        options = ["--tls-port", str(self.port), "--tls-ca-cert-file", authority.ca_file]
        options += ["--tls-cert-file", certificate, "--tls-key-file", certificate]
        self.fleet = Fleet(directory, *options, *more)

    def url(self, host: str = "127.0.0.1", ca_file: str | None = "") -> str:
        known = self._authority.ca_file if ca_file == "" else ca_file
        asked = f"?ssl_ca_certs={known}" if known else ""
        return f"rediss://{host}:{self.port}/0{asked}"


@pytest.fixture
def secure(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Secure]]:
    """``secure(certificate, option, ...)``: one that runs."""
    with contextlib.ExitStack() as opened:

        def make(certificate: str, *more: str) -> Secure:
            made = Secure(tmp_path, authority, certificate, *more)
            opened.enter_context(made.fleet)
            return made

        yield make


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, "--enable-debug-command", "yes") as made:
        yield made


def looked(fleet: Fleet, timeout: float = PATIENT_S, **options: Any) -> Report:
    return checked(diagnose(fleet.meeting(**options), timeout=timeout))


def anybody(authority: Authority, secure: Callable[..., Secure]) -> Secure:
    """One that asks nobody for a certificate."""
    return secure(authority.issue("127.0.0.1"), "--tls-auth-clients", "no")


def called(worker: gwsync.Connection) -> str:
    """What a call says of Redis: the same hint."""
    with contextlib.closing(worker), pytest.raises(gwsync.DialError) as told:
        worker.request("health", timeout=60)
    return told.value.hint


def test_tls_with_the_right_certificate(authority: Authority, secure: Any) -> None:
    made = anybody(authority, secure)
    report = looked(made.fleet, url=made.url())
    assert report.finding == "FLEET_UNKNOWN"
    assert detail(report, "auth") == "let in as default, by TLS"


def test_plain_words_to_a_tls_port(authority: Authority, secure: Any) -> None:
    made = anybody(authority, secure)
    plain = f"redis://127.0.0.1:{made.port}/0"
    report = looked(made.fleet, url=plain)
    assert (report.finding, report.stage, report.exit_code) == ("REDIS_IS_TLS", "probe", 3)
    assert "rediss://" in report.hint
    assert "rediss://" in called(made.fleet.worker(url=plain))


def test_tls_to_a_plain_port(authority: Authority, secure: Any) -> None:
    made = anybody(authority, secure)
    url = made.fleet.redis.url.replace("redis:", "rediss:")
    report = looked(made.fleet, url=url)
    assert (report.finding, report.stage, report.exit_code) == ("REDIS_NOT_TLS", "probe", 3)
    assert "redis://" in called(made.fleet.worker(url=url))


def test_a_ca_that_did_not_sign_it(authority: Authority, secure: Any, tmp_path: Path) -> None:
    made = anybody(authority, secure)
    for ca_file in (None, Authority(tmp_path, "somebody else").ca_file):
        url = made.url(ca_file=ca_file)
        report = looked(made.fleet, url=url)
        assert (report.finding, report.stage, report.exit_code) == ("TLS_CERT_INVALID", "auth", 3)
        assert "ssl_ca_certs=FILE" in report.hint
        assert "ssl_ca_certs=FILE" in called(made.fleet.worker(url=url))


def test_another_host_than_the_certificate_has(authority: Authority, secure: Any) -> None:
    made = anybody(authority, secure)
    report = looked(made.fleet, url=made.url("localhost"))
    assert report.finding == "TLS_CERT_INVALID"
    assert "localhost" in report.message
    assert report.hint == "write the host as its certificate has it"


def test_a_certificate_that_has_expired(authority: Authority, secure: Any) -> None:
    expired = authority.issue("127.0.0.1", expired=True)
    made = secure(expired, "--tls-auth-clients", "no")
    report = looked(made.fleet, url=made.url())
    assert report.finding == "TLS_CERT_INVALID"
    assert "expired" in report.message
    assert "renew" in report.hint


def test_it_wants_a_certificate_of_ours(authority: Authority, secure: Any) -> None:
    certificate = authority.issue("127.0.0.1")
    made = secure(certificate)
    report = looked(made.fleet, url=made.url())
    assert (report.finding, report.stage) == ("TLS_FAILED", "auth")
    assert "ssl_certfile=FILE" in report.hint
    url = f"{made.url()}&ssl_certfile={certificate}&ssl_keyfile={certificate}"
    assert looked(made.fleet, url=url).finding == "FLEET_UNKNOWN"


def test_a_file_that_is_not_there(authority: Authority, secure: Any) -> None:
    made = anybody(authority, secure)
    url = made.url(ca_file="/no/such/file.pem")
    report = looked(made.fleet, url=url)
    assert (report.finding, report.stage, report.exit_code) == ("CONFIG_INVALID", "auth", 2)
    assert "ssl_ca_certs" in report.hint
    assert "ssl_ca_certs" in called(made.fleet.worker(url=url))


def test_a_redis_that_was_stopped(authority: Authority, secure: Any) -> None:
    made = anybody(authority, secure)
    made.fleet.redis.freeze()
    for url, stage in ((made.fleet.redis.url, "probe"), (made.url(), "auth")):
        report = looked(made.fleet, 3.0, url=url)
        assert (report.finding, report.stage, report.exit_code) == ("REDIS_SILENT", stage, 3)


def refused(fleet: Fleet, word: str) -> None:
    """Until Redis says that to a PING."""

    def says_so() -> bool:
        try:
            with fleet.redis.client() as client:
                client.ping()
        except redis.RedisError as error:
            return word in str(error)
        return False

    eventually(says_so, f"Redis says {word}")


def not_ready(fleet: Fleet, word: str, stage: str = "auth") -> None:
    report = looked(fleet)
    assert (report.finding, report.stage, report.exit_code) == ("REDIS_NOT_READY", stage, 3)
    assert word in report.message


def test_it_loads_its_data(fleet: Fleet) -> None:
    with fleet.redis.client() as client:
        client.execute_command("DEBUG", "POPULATE", 20_000, "key", 500)
        client.config_set("rdbcompression", "no")
        client.config_set("loading-process-events-interval-bytes", 2048)
        client.config_set("key-load-delay", 5000)  # microseconds: it is killed before the end
    # the fixture kills it, which ends this
    InThread(reload, fleet)
    refused(fleet, "loading")
    not_ready(fleet, "loading")


def reload(fleet: Fleet) -> None:
    with contextlib.suppress(redis.RedisError), fleet.redis.client() as client:
        client.execute_command("DEBUG", "RELOAD")


def test_a_script_keeps_it_busy(fleet: Fleet) -> None:
    def run() -> None:
        with contextlib.suppress(redis.RedisError), fleet.redis.client() as client:
            client.eval(FOREVER, 0)

    with fleet.redis.client() as client:
        client.config_set("busy-reply-threshold", 10)
        script = InThread(run)
        refused(fleet, "BUSY")
        not_ready(fleet, "BUSY")
        client.execute_command("SCRIPT", "KILL")
        script.result()


def test_no_more_clients(fleet: Fleet) -> None:
    with fleet.redis.client() as client:
        client.config_set("maxclients", 1)
        not_ready(fleet, "max number of clients")
        assert "maxclients" in called(fleet.worker())


def test_a_replica_without_its_master(fleet: Fleet) -> None:
    with fleet.redis.client() as client:
        client.replicaof("127.0.0.1", free_port())
        not_ready(fleet, "read only", "acl")
        client.config_set("replica-serve-stale-data", "no")
        not_ready(fleet, "MASTER is down")


def test_it_is_full(fleet: Fleet) -> None:
    with fleet.redis.client() as client:
        client.config_set("maxmemory", 1)
        not_ready(fleet, "maxmemory", "acl")
