"""What a proxy URL may be, what to write instead, and that no password is ever shown."""

from __future__ import annotations

import pytest

from gwsync.config import Config
from gwsync.errors import ConfigError
from gwsync.proxy_url import ProxyURL, parse_proxy

SECRET = "canary-0123456789"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("socks5h://127.0.0.1:1055", ProxyURL("socks5h", "127.0.0.1", 1055)),
        ("SOCKS5://Box", ProxyURL("socks5", "box", 1080)),
        ("socks4a://box/", ProxyURL("socks4a", "box", 1080)),
        ("socks4://me@box:9", ProxyURL("socks4", "box", 9, "me", None)),
        ("http://proxy.example", ProxyURL("http", "proxy.example", 8080)),
        ("https://proxy.example", ProxyURL("https", "proxy.example", 443)),
        ("http://[::1]:3128", ProxyURL("http", "::1", 3128)),
        ("socks5h://u:p@box", ProxyURL("socks5h", "box", 1080, "u", "p")),
        ("socks5h://u@box", ProxyURL("socks5h", "box", 1080, "u", "")),
        ("socks5h://a%40b:c%3Ad%2F@box", ProxyURL("socks5h", "box", 1080, "a@b", "c:d/")),
        ("socks5h://u:p@q@box", ProxyURL("socks5h", "box", 1080, "u", "p@q")),
        ("http://%C3%A9:%E2%82%AC@box", ProxyURL("http", "box", 8080, "\xe9", "\u20ac")),
        (
            f"socks5h://{'u' * 255}:{'p' * 255}@b",
            ProxyURL("socks5h", "b", 1080, "u" * 255, "p" * 255),
        ),
    ],
)
def test_what_is_right(url: str, expected: ProxyURL) -> None:
    assert parse_proxy(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("socks://127.0.0.1:1080", "socks5h://"),
        ("127.0.0.1:1055", "socks5h://host:port"),
        ("localhost:1055", "socks5h://host:port"),
        ("socks5h:127.0.0.1:1", "scheme"),
        ("ftp://box:21", "must begin with one of socks5h://"),
        ("socks5h://", "no host"),
        ("socks5h://:1055", "no host"),
        ("socks5h://1055", "socks5h://127.0.0.1:1055"),
        ("socks5h://box:", "write the port"),
        ("socks5h://box:0", "port 0"),
        ("socks5h://box:65536", "cannot be read"),
        ("socks5h://box:x", "cannot be read"),
        ("socks5h://[::1", "cannot be read"),
        ("socks5h://a..b", "host name"),
        (f"socks5h://{'a' * 64}", "host name"),
        ("http://box/path", "path"),
        ("http://box?x=1", "path, query"),
        ("http://box#", "fragment"),
        ("http://b\u00f6x", "non-ASCII"),
        ("http://box \n", "line end"),
        (f"socks5h://u:{SECRET}%0d%0a@box", "line end"),
        (f"socks5h://u:{SECRET}%ff@box", "UTF-8"),
        (f"socks5h://:{SECRET}@box", "no user name"),
        (f"socks5h://u:{SECRET}{'p' * 239}@box", "over 255 bytes"),
        (f"socks5h://{'u' * 256}:{SECRET}@box", "over 255 bytes"),
        (f"socks5h://u:{'%C3%A9' * 128}@box", "over 255 bytes"),
        (f"socks4a://u:{SECRET}@box", "no password"),
        (f"http://u%3Av:{SECRET}@box", "colon"),
        (f"socks5h://u:{SECRET}/x@box", "cannot be read"),
        (f"socks5h://u:{SECRET}#x@box", "cannot be read"),
        (5, "must be a string"),
    ],
)
def test_what_is_refused_says_what_to_write(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_proxy(url)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigError):
        Config(proxy=url)


def test_the_password_is_masked_wherever_it_may_be_shown() -> None:
    url = f"socks5h://us%40er:{SECRET}@box"
    proxy = parse_proxy(url)
    assert proxy.masked == str(proxy) == "socks5h://us%40er:***@box:1080"
    for shown in (repr(proxy), str(proxy), str(proxy.endpoint), repr(Config(proxy=url))):
        assert SECRET not in shown
    assert "proxy='socks5h://us%40er:***@box:1080'" in repr(Config(proxy=url))


@pytest.mark.parametrize(
    ("scheme", "socks", "remote"),
    [
        ("socks5h", True, True),
        ("socks5", True, False),
        ("socks4a", True, True),
        ("socks4", True, False),
        ("http", False, True),
        ("https", False, True),
    ],
)
def test_who_looks_up_the_name(scheme: str, socks: bool, remote: bool) -> None:
    proxy = parse_proxy(f"{scheme}://box")
    assert (proxy.is_socks, proxy.remote_dns) == (socks, remote)


def test_two_configs_with_another_proxy_are_two() -> None:
    one, two = Config(proxy="socks5h://box"), Config(proxy="socks5h://box2")
    assert one != two
    assert one == Config(proxy="socks5h://box")
    assert hash(one) == hash(Config(proxy="socks5h://box"))


@pytest.mark.parametrize("off", ["", "none", "None", "direct", None])
def test_no_proxy_at_all(off: str | None) -> None:
    assert Config(proxy=off).proxy is None
    assert Config(proxy=off).proxy_url is None


def test_a_proxy_is_not_for_what_no_proxy_names() -> None:
    config = Config(url="wss://a.example", proxy="http://box", no_proxy=("example",))
    assert config.proxy_url is None
    config = Config(url="wss://a.example", proxy="http://box", no_proxy=("b.example",))
    assert config.proxy_url == ProxyURL("http", "box", 8080)


def test_asked_for_loopback_is_proxied() -> None:
    assert Config(proxy="http://box").proxy_url is not None


def test_no_proxy_must_be_a_sequence() -> None:
    with pytest.raises(ConfigError, match="no_proxy"):
        Config(no_proxy="a,b")  # type: ignore[arg-type]
