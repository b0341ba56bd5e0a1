"""--compare, --sockets, --plot, and the row of a listener in /proc/net/tcp."""

from __future__ import annotations

import json
import os
import socket
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import gwsync
from doctor.support import Full, closed_port, schema
from gwsync.doctor import listeners, plot, sockets
from gwsync.doctor.compare import compare, pick
from gwsync.doctor.report import Path as Way
from gwsync.values import StageRecord, Trace
from loopback.cli_support import run
from loopback.support import Bench, until_closed
from loopback.support_proxy import Proxy

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
NASTY = "<script>\x1b[2J&\"'"
TRACE = Trace(
    f"ws://a/{NASTY}",
    (StageRecord("tcp", 0.0, 0.25, True, NASTY), StageRecord("tls", 0.25, 0.1, False, NASTY)),
)


# -- compare ------------------------------------------------------------------------------------
def test_the_ways_side_by_side(bench: Bench) -> None:
    paths, picked = compare(bench.config())
    assert [path.name for path in paths] == ["ipv4", "any", "ipv6"]
    assert all(path.ok for path in paths)  # an IP literal decides the family
    assert picked == "ipv4, which is what is configured"


def test_with_a_proxy_it_is_compared_with_none(bench: Bench) -> None:
    url = f"ws://localhost:{bench.gateway.port}"
    proxy = f"socks5h://127.0.0.1:{closed_port()}"
    paths, picked = compare(bench.config(url=url, proxy=proxy))
    found = {path.name: path.finding for path in paths}
    assert found["ipv4, proxy"] == "PROXY_PORT_CLOSED"
    assert found["ipv4, direct"] == "OK"
    assert len(found) == 6
    assert "direct (--proxy none); ipv4, proxy fails: PROXY_PORT_CLOSED" in picked


def test_both_work(bench: Bench) -> None:
    proxy = Proxy(bench, "socks5")
    url = f"ws://localhost:{bench.gateway.port}"
    paths, _ = compare(bench.config(url=url, proxy=proxy.url("socks5h")))
    assert all(path.ok for path in paths)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("ipv4", "TCP_TIMEOUT", 2.0)], "none of them works"),
        ([("ipv4", "TCP_TIMEOUT", 2.0), ("any", "OK", 0.1)], "--address-family any"),
        ([("ipv4", "OK", 0.5), ("ipv6", "OK", 0.1)], "ipv6 (--address-family ipv6), 400 ms"),
        ([("ipv4", "OK", 0.11), ("ipv6", "OK", 0.1)], "ipv4, which is what is configured"),
    ],
)
def test_which_to_pick(rows: list[tuple[str, str, float]], said: str) -> None:
    paths = [Way(name, finding, took, "") for name, finding, took in rows]
    assert said in pick(paths, gwsync.Config())


# -- the listener --------------------------------------------------------------------------------
@LINUX
def test_who_does_not_accept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            row = listeners.find(port)
        assert row is not None
        assert row.unaccepted == 1
        assert f"(pid {os.getpid()}) has not accepted 1 connection:" in str(row)


@LINUX
def test_who_accepts_and_is_silent(bench: Bench) -> None:
    server = bench.server(until_closed)
    row = listeners.find(server.port)
    assert row is not None
    assert "accepts connections, and says nothing" in str(row)


def test_nobody_listens_there(tmp_path: Path) -> None:
    assert listeners.find(closed_port()) is None
    assert listeners.find(1, tmp_path) is None  # no /proc at all


@LINUX
def test_a_full_backlog() -> None:
    with Full() as full:
        row = listeners.find(full.port)
        assert row is not None
        assert row.unaccepted >= 1


# -- sockets -------------------------------------------------------------------------------------
def test_connections_are_counted_by_process(bench: Bench) -> None:
    pytest.importorskip("psutil")
    connection = bench.connection()
    connection.connect()
    mine = [one for one in sockets.count(bench.gateway.port) if one.pid == os.getpid()]
    assert [(one.connections, dict(one.states)) for one in mine] == [(1, {"established": 1})]


def test_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(gwsync.ConfigError, match=r"psutil.*gwsync\[doctor\]"):
        sockets.psutil_module()


# -- pictures ------------------------------------------------------------------------------------
def test_an_svg_in_which_everything_is_text(tmp_path: Path) -> None:
    path = tmp_path / "trace.svg"
    plot.write(TRACE, str(path))
    tree = ET.fromstring(path.read_text("utf-8"))
    text = "".join(tree.itertext())
    assert "tcp" in text
    assert "250.0 ms" in text
    assert "100.0 ms, failed" in text
    assert "<script" in text  # as text, and so are the control codes
    assert "\x1b" not in text
    assert not list(tree.iter("{http://www.w3.org/2000/svg}script"))


def test_notebooks_show_it() -> None:
    assert TRACE._repr_svg_().startswith("<svg ")
    assert "<svg " in TRACE._repr_html_()
    assert ET.fromstring(Trace("ws://a")._repr_svg_()) is not None  # nothing in it yet


def test_a_png(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    path = tmp_path / "trace.png"
    plot.write(TRACE, str(path))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_png_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(gwsync.ConfigError, match=r"Pillow.*gwsync\[doctor\]"):
        plot.kind_of("a.png")


@pytest.mark.parametrize("name", ["a.gif", "svg", "no/such/directory/a.svg"])
def test_a_file_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(gwsync.ConfigError, match="--plot"):
        plot.write(TRACE, str(tmp_path / name))


# -- all of it on the command line -----------------------------------------------------------------
@pytest.mark.parametrize("as_json", [True, False])
def test_the_options_together(bench: Bench, tmp_path: Path, as_json: bool) -> None:
    pytest.importorskip("psutil")
    path = tmp_path / "a.svg"
    options = ["--compare", "--sockets", "--plot", str(path), *(["--json"] if as_json else [])]
    with bench.connection() as connection:
        connection.connect()
        done = run("doctor", *options, env={**bench.environment(), "HOME": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text("utf-8").startswith("<svg ")
    if as_json:
        report: Any = json.loads(done.stdout)
        jsonschema.validate(report, schema())
        assert [one["name"] for one in report["paths"]] == ["ipv4", "any", "ipv6"]
        assert os.getpid() in [one["pid"] for one in report["sockets"]]
    else:
        assert "  pick: ipv4, which is what is configured" in done.stdout
        assert f"(pid {os.getpid()}): 1 established" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80
