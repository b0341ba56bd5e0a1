"""Redis as it is run: TLS, a unix socket, a failover by Sentinel, a cluster."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import gwsync
from conformance.tools import InThread, Log, eventually
from fleet.support import LASTING_S, RENEWED_S, WITH_US, Fleet, RedisServer, free_port
from gwsync.fleet.keys import Keys
from gwsync.fleet.look import look
from gwsync.fleet.store import Store

KEYS = Keys("test")


@contextlib.contextmanager
def serving(
    fleet: Fleet, url: str, server: RedisServer | None = None, lease_s: float = LASTING_S
) -> Iterator[tuple[gwsync.Connection, Log]]:
    """An owner and a worker that meet at ``url``; the worker has been heard."""
    owner = fleet.owner(fleet.meeting(url=url), lease_s, server=server)
    worker, log = gwsync.Connection(fleet.meeting(url=url)), Log()
    try:
        worker.subscribe(log)
        log.wait(lambda one: isinstance(one, gwsync.Snapshot), "a snapshot", timeout=60)
        yield worker, log
    finally:
        worker.close(timeout=1)
        owner.stop()


def heard(fleet: Fleet, log: Log, n: int) -> None:
    fleet.gateway.push("chat", {"n": n})
    log.wait(lambda one: one.payload.get("n") == n, f"number {n}", timeout=60)


def openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def certificates(directory: Path) -> None:
    """ca.pem of one's own, and cert.pem for 127.0.0.1 that it signed; as strict as Python 3.13."""
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(directory, *new, "-x509", "-days", "2", "-subj", "/CN=fleet CA",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    openssl(directory, *new, "-subj", "/CN=127.0.0.1", "-keyout", "key.pem", "-out", "cert.csr")
    (directory / "names").write_text(
        "subjectAltName=IP:127.0.0.1\n"
        "authorityKeyIdentifier=keyid\n"
        "basicConstraints=CA:FALSE\n"
        "keyUsage=critical,digitalSignature\n"
    )
    openssl(directory, "x509", "-req", "-in", "cert.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "cert.pem")  # fmt: skip


def test_tls_with_a_ca_of_ones_own(tmp_path: Path) -> None:
    certificates(tmp_path)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for name, file in (("cert", "cert.pem"), ("key", "key.pem"), ("ca-cert", "ca.pem")):
        options += [f"--tls-{name}-file", str(tmp_path / file)]
    with Fleet(tmp_path, *options) as fleet:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        with serving(fleet, url) as (worker, log):
            assert worker.request("health", timeout=30)["ok"] is True
            heard(fleet, log, 1)
        stranger = gwsync.Connection(fleet.meeting(url=f"rediss://127.0.0.1:{port}/0"))
        with pytest.raises(gwsync.DialError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.request("health", timeout=30)
        stranger.close(timeout=1)


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with (
        Fleet(tmp_path, "--unixsocket", str(path)) as fleet,
        serving(fleet, f"unix://{path}") as (
            worker,
            log,
        ),
    ):
        assert worker.request("health", timeout=30)["ok"] is True
        heard(fleet, log, 1)


@contextlib.contextmanager
def servers(directory: Path, *options: Sequence[str]) -> Iterator[list[RedisServer]]:
    with contextlib.ExitStack() as opened:
        made = []
        for n, own in enumerate(options):
            server = RedisServer(directory / f"redis-{n}", *own)
            opened.callback(server.stop)
            made.append(server.start())
        yield made


def test_a_failover_by_sentinel(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet, servers(tmp_path, ()) as (replica,):
        with replica.client() as client:
            client.replicaof("127.0.0.1", fleet.redis.port)
            eventually(lambda: client.info()["master_link_status"] == "up", "a replica")
        port = free_port()
        settings = tmp_path / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
            f"sentinel monitor main 127.0.0.1 {fleet.redis.port} 1\n"
            "sentinel down-after-milliseconds main 1000\n"
            "sentinel failover-timeout main 5000\n"
        )
        with subprocess.Popen(
            [*WITH_US, "redis-sentinel", str(settings)], stdout=subprocess.DEVNULL
        ) as sentinel:
            try:
                goes_on(fleet, replica, f"redis+sentinel://127.0.0.1:{port}/main/0")
            finally:
                sentinel.kill()


def goes_on(fleet: Fleet, replica: RedisServer, url: str) -> None:
    def known() -> bool:
        with contextlib.suppress(Exception), contextlib.closing(Store(url)) as store:
            return bool(store.client.ping()) and replica.client().info()["role"] == "slave"
        return False

    eventually(known, "Sentinel knows both", 60)
    with serving(fleet, url, lease_s=RENEWED_S) as (worker, log):
        heard(fleet, log, 1)
        send = {"sessionKey": "main", "message": "delay=3000 words=1"}
        call = InThread(worker.request, "chat.send", send, timeout=90, idempotency_key="k")
        fleet.gateway.wait_requests("chat.send", timeout=30)
        fleet.redis.stop()
        with replica.client() as client:
            eventually(lambda: client.info()["role"] == "master", "a failover", 90)
        assert call.result(90)["status"]
        assert worker.request("health", timeout=60)["ok"] is True
        heard(fleet, log, 2)
        ran = [one for one in fleet.gateway.executed if one.idempotency_key == "k"]
        assert len(ran) == 1
        eventually(lambda: fleet.gateway.connections_open == 1, "one socket")


CLUSTER = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")


def cluster(nodes: Sequence[RedisServer]) -> None:
    """Half of the slots each."""
    with contextlib.ExitStack() as opened:
        one, two = (opened.enter_context(node.client()) for node in nodes)
        one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        two.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        one.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[1].port)
        for client in (one, two):
            eventually(
                lambda client=client: (
                    "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO"))
                ),
                "a cluster",
                60,
            )


def test_a_cluster_whose_other_node_has_the_keys(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet, servers(tmp_path, CLUSTER, CLUSTER) as nodes:
        cluster(nodes)
        with nodes[0].client() as client:
            slot = client.execute_command("CLUSTER", "KEYSLOT", KEYS.lease)
        right, wrong = (nodes[0], nodes[1]) if slot < 8192 else (nodes[1], nodes[0])
        for node in (right, wrong):
            with serving(fleet, node.url, right) as (worker, log):
                assert worker.request("health", timeout=30)["ok"] is True
                heard(fleet, log, node.port)
                with contextlib.closing(Store(node.url)) as store:
                    assert len(look(store, "test")["workers"]) >= 1
        with right.client() as client:
            assert client.exists(KEYS.fence)
