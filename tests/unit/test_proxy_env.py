"""Which proxy the environment means for which URL: a table."""

from __future__ import annotations

import pytest

from gwsync import endpoint
from gwsync.config import Config
from gwsync.errors import ConfigError
from gwsync.proxy_env import bypasses, environment_proxy, split

P, Q = "http://p:1", "socks5h://q:2"


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, "wss://example.com", (None, "")),
        ({"https_proxy": P}, "wss://example.com", (P, "https_proxy")),
        ({"HTTPS_PROXY": P}, "wss://example.com", (P, "HTTPS_PROXY")),
        ({"https_proxy": P, "HTTPS_PROXY": Q}, "wss://example.com", (P, "https_proxy")),
        ({"https_proxy": "", "HTTPS_PROXY": Q}, "wss://example.com", (None, "")),
        ({"http_proxy": P}, "wss://example.com", (None, "")),
        ({"http_proxy": P}, "ws://box.ts.net", (P, "http_proxy")),
        ({"HTTP_PROXY": P}, "ws://box.ts.net", (P, "HTTP_PROXY")),
        ({"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, "ws://box.ts.net", (None, "")),
        ({"https_proxy": P}, "ws://box.ts.net", (None, "")),
        ({"all_proxy": Q}, "ws://box.ts.net", (Q, "all_proxy")),
        ({"ALL_PROXY": Q}, "wss://example.com", (Q, "ALL_PROXY")),
        ({"ALL_PROXY": Q, "https_proxy": P}, "wss://example.com", (P, "https_proxy")),
        ({"all_proxy": Q}, "ws://127.0.0.1:1", (None, "all_proxy, which is not for loopback")),
        ({"http_proxy": P}, "ws://localhost:1", (None, "http_proxy, which is not for loopback")),
        ({"https_proxy": P}, "wss://[::1]:1", (None, "https_proxy, which is not for loopback")),
        (
            {"all_proxy": "socks://bad"},
            "ws://127.9.9.9",
            (None, "all_proxy, which is not for loopback"),
        ),
        ({"https_proxy": "p:1"}, "wss://example.com", (P, "https_proxy")),
        ({"https_proxy": P, "no_proxy": "example.com"}, "wss://example.com", (None, "no_proxy")),
        ({"https_proxy": P, "NO_PROXY": ".example.com"}, "wss://a.example.com", (None, "NO_PROXY")),
        (
            {"https_proxy": P, "NO_PROXY": ".example.com"},
            "wss://evilexample.com",
            (P, "https_proxy"),
        ),
        (
            {"https_proxy": P, "no_proxy": "", "NO_PROXY": "*"},
            "wss://example.com",
            (P, "https_proxy"),
        ),
        ({"https_proxy": P, "NO_PROXY": "*"}, "wss://example.com", (None, "NO_PROXY")),
        ({"https_proxy": "none"}, "wss://example.com", (None, "https_proxy")),
    ],
)
def test_the_environment(
    environ: dict[str, str], url: str, expected: tuple[str | None, str]
) -> None:
    assert environment_proxy(endpoint.parse(url), environ) == expected


@pytest.mark.parametrize(
    ("entries", "url", "past"),
    [
        ("example.com", "wss://example.com", True),
        ("example.com", "wss://a.b.example.com", True),
        ("example.com", "wss://evilexample.com", False),
        ("example.com", "wss://example.com.evil", False),
        (".example.com", "wss://example.com", True),
        (".example.com", "wss://a.example.com", True),
        (".example.com", "wss://evilexample.com", False),
        ("*.example.com", "wss://a.example.com", True),
        ("*.example.com", "wss://evilexample.com", False),
        ("EXAMPLE.com.", "wss://Example.COM", True),
        ("a.example.com", "wss://example.com", False),
        ("box", "wss://box", True),
        ("box", "wss://boxes", False),
        ("example.com:443", "wss://example.com", True),
        ("example.com:8443", "wss://example.com", False),
        ("example.com:8443", "wss://a.example.com:8443", True),
        ("a, b  example.com", "wss://example.com", True),
        ("", "wss://example.com", False),
        (",,.,", "wss://example.com", False),
        ("*", "wss://example.com", True),
        ("10.0.0.0/8", "wss://10.1.2.3", True),
        ("10.0.0.0/8", "wss://11.1.2.3", False),
        ("10.1.2.3/8", "wss://10.9.9.9", True),
        ("10.0.0.0/8", "wss://10.example", False),
        ("10.1.2.3", "wss://10.1.2.3", True),
        ("2.3", "wss://10.1.2.3", False),
        ("10.1.2.3:443", "wss://10.1.2.3", True),
        ("10.1.2.3:444", "wss://10.1.2.3", False),
        ("fd7a::/16", "wss://[fd7a::1]", True),
        ("[fd7a::1]", "wss://[fd7a::1]", True),
        ("fd7a::1", "wss://[fd7a::1]", True),
        ("[fd7a::1]:443", "wss://[fd7a::1]", True),
        ("[fd7a::1]:444", "wss://[fd7a::1]", False),
        ("fd7a::/16", "wss://10.1.2.3", False),
        ("10.0.0.0/8", "wss://[::ffff:10.1.2.3]", True),
        ("10.0.0.0/99", "wss://10.1.2.3", False),
    ],
)
def test_what_goes_past_the_proxy(entries: str, url: str, past: bool) -> None:
    assert bypasses(endpoint.parse(url), split(entries)) is past


def test_a_variable_that_cannot_be_read_is_named_and_not_shown() -> None:
    target = endpoint.parse("wss://example.com")
    with pytest.raises(ConfigError) as caught:
        environment_proxy(target, {"ALL_PROXY": "socks://u:canary-0123456789@box"})
    assert "ALL_PROXY: socks://" in str(caught.value)
    assert "proxy=''" in str(caught.value)
    assert "canary" not in str(caught.value)


NAMES = ("http", "https", "all", "no")


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in NAMES:
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("given", "variables", "proxy", "source"),
    [
        ({}, {"HTTPS_PROXY": P}, P, "HTTPS_PROXY"),
        ({}, {"HTTPS_PROXY": P, "GWSYNC_PROXY": Q}, Q, "GWSYNC_PROXY"),
        ({"proxy": "http://r"}, {"GWSYNC_PROXY": Q}, "http://r", "argument"),
        ({"proxy": ""}, {"HTTPS_PROXY": P, "GWSYNC_PROXY": Q}, None, "argument"),
        ({}, {"HTTPS_PROXY": P, "GWSYNC_PROXY": "direct"}, None, "GWSYNC_PROXY"),
        ({}, {"HTTPS_PROXY": P, "NO_PROXY": "example.com"}, None, "NO_PROXY"),
        ({}, {"GWSYNC_PROXY": Q, "NO_PROXY": "example.com"}, Q, "GWSYNC_PROXY"),
        ({"no_proxy": ()}, {"HTTPS_PROXY": P, "NO_PROXY": "example.com"}, P, "HTTPS_PROXY"),
        ({}, {}, None, "default"),
        ({"url": "ws://127.0.0.1"}, {"GWSYNC_PROXY": Q}, Q, "GWSYNC_PROXY"),
    ],
)
def test_where_the_proxy_comes_from(
    environ: pytest.MonkeyPatch,
    given: dict[str, object],
    variables: dict[str, str],
    proxy: str | None,
    source: str,
) -> None:
    for name, value in variables.items():
        environ.setenv(name, value)
    config = Config.discover(**{"url": "wss://example.com", **given})
    assert (config.proxy, config.sources["proxy"]) == (proxy, source)


def test_exceptions_of_our_own(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("GWSYNC_PROXY", P)
    environ.setenv("GWSYNC_NO_PROXY", "other.example, example.com")
    config = Config.discover(url="wss://example.com")
    assert config.no_proxy == ("other.example", "example.com")
    assert config.proxy_url is None
    assert Config.discover(url="wss://elsewhere.com").proxy_url is not None


def test_the_exceptions_of_the_variables_are_kept_with_their_proxy(
    environ: pytest.MonkeyPatch,
) -> None:
    environ.setenv("all_proxy", Q)
    with pytest.raises(ConfigError, match="url"):
        Config.discover(url="nonsense")
