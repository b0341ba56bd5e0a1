"""``gwsync doctor`` and the real proxies: what is well, and the same proxies asked wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from doctor.support import closed_port, examined
from loopback.support import Bench

from .conftest import WAYS, WITH_AUTH
from .ssh import SshServer

Ask = Callable[..., Any]
KINDLESS = {"socks5h": "PROXY_IS_SOCKS5", "http": "PROXY_IS_HTTP_CONNECT"}


@pytest.mark.parametrize(("name", "auth"), WITH_AUTH)
def test_what_is_well_is_ok(bench: Bench, proxies: Ask, name: str, auth: bool) -> None:
    report = examined(bench.config(proxy=proxies(name, auth).url()))
    assert report.ok, report
    assert report.notes == ()


@pytest.mark.parametrize("name", WAYS)
def test_the_wrong_scheme(bench: Bench, proxies: Ask, name: str) -> None:
    proxy = proxies(name)
    right = proxy.url().partition("://")[0]
    wrong = "http" if right == "socks5h" else "socks5h"
    report = examined(bench.config(proxy=proxy.url().replace(right, wrong, 1)))
    assert report.finding == KINDLESS[right]


@pytest.mark.parametrize(("name", "auth"), [one for one in WITH_AUTH if one[1]])
def test_credentials(bench: Bench, proxies: Ask, name: str, auth: bool) -> None:
    proxy = proxies(name, auth)
    report = examined(bench.config(proxy=proxy.url(password=None)))
    assert report.finding == "PROXY_AUTH_REQUIRED"
    report = examined(bench.config(proxy=proxy.url(password="wr0ng-one")))
    assert report.finding == "PROXY_AUTH_WRONG"
    assert "wr0ng-one" not in str(report)


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("microsocks", "TARGET_REFUSED"),
        ("danted", "TARGET_REFUSED"),
        ("tinyproxy", "TARGET_FAILED"),
        ("squid", "TARGET_FAILED"),
        ("ssh", "PROXY_CLOSED_ON_CONNECT"),
    ],
)
def test_a_target_that_refuses(bench: Bench, proxies: Ask, name: str, finding: str) -> None:
    url = f"ws://127.0.0.1:{closed_port()}"
    report = examined(bench.config(url=url, proxy=proxies(name).url()))
    assert report.finding == finding


def test_the_port_of_sshd(bench: Bench, ssh_server: SshServer) -> None:
    report = examined(bench.config(proxy=f"socks5h://127.0.0.1:{ssh_server.port}"))
    assert report.finding == "PROXY_IS_SSH"
