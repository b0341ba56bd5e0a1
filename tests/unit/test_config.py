"""Config: checked before any I/O, equal by value, secrets out of sight."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import ssl
from pathlib import Path
from typing import Any

import pytest

import gwsync
from gwsync.config import Config, ReconnectPolicy, checked_timeout
from gwsync.errors import ConfigError

SECRET = "canary0secret"


def test_the_defaults_are_the_least_privilege() -> None:
    config = Config()
    assert config.url == "ws://127.0.0.1:18789"
    assert config.scopes == ("operator.read", "operator.write")
    assert (config.role, config.address_family) == ("operator", "ipv4")
    assert (config.connect_timeout, config.request_timeout) == (30.0, 30.0)
    assert config.allow_plaintext is False
    assert repr(config) == "Config(url='ws://127.0.0.1:18789')"


def test_equal_settings_are_one_config() -> None:
    one = Config(
        url="WSS://Box.example/",
        scopes=["operator.read"],  # type: ignore[arg-type]
        headers={"X-A": "b"},  # type: ignore[arg-type]
        connect_timeout=5,
        state_dir=Path("/tmp/x"),  # type: ignore[arg-type]
    )
    other = Config(
        url="wss://box.example",
        scopes=("operator.read",),
        headers=(("X-A", "b"),),
        connect_timeout=5.0,
        state_dir="/tmp/x",
    )
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1
    assert one != dataclasses.replace(other, token="t")
    assert pickle.loads(pickle.dumps(one)) == one


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().token = "x"  # type: ignore[misc]


def test_no_secret_is_shown() -> None:
    config = Config(
        token=SECRET, password=SECRET, device_token=SECRET, headers=(("Authorization", SECRET),)
    )
    shown = f"{config!r} {config} {[config]}"
    assert SECRET not in shown
    for name in ("token", "password", "device_token", "headers"):
        assert f"{name}=***" in shown
    connection = gwsync.Connection(config)
    assert SECRET not in repr(connection)
    assert SECRET not in repr(connection.status())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"token": ""}, "token"),
        ({"token": 5}, "token"),
        ({"token": f"{SECRET}\n"}, "token"),
        ({"token": f"{SECRET} x"}, "token"),
        ({"password": f"{SECRET}\u00e9"}, "password"),
        ({"device_token": f"\0{SECRET}"}, "device_token"),
        ({"scopes": "operator.read"}, "sequence"),
        ({"scopes": 5}, "sequence"),
        ({"scopes": ("",)}, "scopes"),
        ({"scopes": ("a,b",)}, "a,b"),
        ({"scopes": ("a|b",)}, "cannot be a name"),
        ({"scopes": (5,)}, "scopes"),
        ({"caps": ("a\nb",)}, "caps"),
        ({"role": ""}, "role"),
        ({"role": None}, "role"),
        ({"address_family": "ipv5"}, "address_family"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"connect_timeout": None}, "connect_timeout"),
        ({"connect_timeout": True}, "connect_timeout"),
        ({"connect_timeout": math.nan}, "connect_timeout"),
        ({"request_timeout": -1}, "request_timeout"),
        ({"request_timeout": "5"}, "request_timeout"),
        ({"reconnect": 5}, "ReconnectPolicy"),
        ({"headers": {"X\r\nY": "z"}}, "header"),
        ({"headers": {"X": "a\r\nB: c"}}, "header"),
        ({"headers": {"X Y": "z"}}, "header"),
        ({"headers": {"X:": "z"}}, "header"),
        ({"headers": {"X": "\u2603"}}, "header"),
        ({"headers": {"Origin": "https://x"}}, "scope"),
        ({"headers": {"X": 5}}, "header"),
        ({"headers": 5}, "headers"),
        ({"ca_file": ""}, "ca_file"),
        ({"state_dir": "a\0b"}, "state_dir"),
        ({"server_name": "a\nb"}, "server_name"),
        ({"server_name": "a..b"}, "server_name"),
        ({"max_message": 5}, "max_message"),
        ({"max_message": 1e9}, "max_message"),
        ({"max_message": True}, "max_message"),
        ({"stage_timeouts": {"lunch": 5}}, "lunch"),
        ({"stage_timeouts": {"tcp": 0}}, "tcp"),
        ({"stage_timeouts": 5}, "stage_timeouts"),
        ({"tls_fingerprint": "ab" * 32}, "wss"),
        ({"tls_fingerprint": "ab", "url": "wss://h"}, "64"),
        ({"url": "wss://h", "tls_fingerprint": "zz" * 32}, "64"),
    ],
    ids=repr,
)
def test_what_cannot_be_right_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Config(**settings)
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("unlimited", [None, math.inf])
def test_no_request_timeout(unlimited: float | None) -> None:
    assert Config(request_timeout=unlimited).request_timeout is None


def test_where_endless_is_not_offered_infinity_is_a_year() -> None:
    year = 31536000
    assert Config(connect_timeout=math.inf).connect_timeout == year
    assert ReconnectPolicy(first=math.inf).first == year
    assert checked_timeout(math.inf, none=False) == year


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ReconnectPolicy)])
@pytest.mark.parametrize("bad", [-1, math.nan, True, "1", None])
def test_a_bad_reconnect_policy(name: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        ReconnectPolicy(**{name: bad})
    ReconnectPolicy(**{name: 0})


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1.0), (0.5, 0.5), (math.inf, None), (None, None), (1e20, 31536000)]
)
def test_timeouts(value: Any, expected: float | None) -> None:
    assert checked_timeout(value) == expected


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_a_number_too_big_for_a_float(number: int) -> None:
    if number > 0:
        assert checked_timeout(number) == 31536000
    else:
        with pytest.raises(ConfigError):
            checked_timeout(number)


# -- from the environment -------------------------------------------------------------------


def test_the_environment_is_read_at_use_not_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GWSYNC_URL", "wss://env.example")
    monkeypatch.setenv("GWSYNC_TOKEN", SECRET)
    monkeypatch.setenv("GWSYNC_SCOPES", " operator.read , operator.admin,")
    monkeypatch.setenv("GWSYNC_CONNECT_TIMEOUT", "2.5")
    monkeypatch.setenv("GWSYNC_REQUEST_TIMEOUT", "7")
    monkeypatch.setenv("GWSYNC_STATE_DIR", "/tmp/state")
    monkeypatch.setenv("GWSYNC_CA_FILE", "/tmp/ca.pem")
    config = Config.discover()
    assert config == Config(
        url="wss://env.example",
        token=SECRET,
        scopes=("operator.read", "operator.admin"),
        connect_timeout=2.5,
        request_timeout=7.0,
        state_dir="/tmp/state",
        ca_file="/tmp/ca.pem",
    )
    assert SECRET not in repr(config)
    assert SECRET not in repr(config.sources)
    assert Config().token is None  # only discover() looks there


def test_a_token_of_the_environments_url_never_goes_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GWSYNC_URL", "wss://env.example")
    monkeypatch.setenv("GWSYNC_TOKEN", SECRET)
    monkeypatch.setenv("GWSYNC_PASSWORD", SECRET)
    monkeypatch.setenv("GWSYNC_DEVICE_TOKEN", SECRET)
    config = Config.discover(url="wss://other.example")
    assert (config.token, config.password, config.device_token) == (None, None, None)
    assert Config.discover(url="wss://other.example", token="mine").token == "mine"
    connection = gwsync.Connection()
    connection.configure("wss://other.example")
    assert connection._config is not None
    assert connection._config.token is None


@pytest.mark.parametrize("text", ["abc", "nan", "-1", "0"])
def test_a_bad_number_in_the_environment(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GWSYNC_CONNECT_TIMEOUT", text)
    with pytest.raises(ConfigError, match=r"(?i)connect_timeout"):
        Config.discover()


def test_a_config_is_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match="must be a gwsync"):
        gwsync.Connection({"url": "ws://127.0.0.1"})  # type: ignore[arg-type]


def test_a_context_of_ones_own_is_told_apart_by_identity() -> None:
    context, other = ssl.create_default_context(), ssl.create_default_context()
    config = Config(url="wss://localhost", ssl_context=context)
    assert config == Config(url="wss://localhost", ssl_context=context)
    assert hash(config) == hash(Config(url="wss://localhost", ssl_context=context))
    assert config != Config(url="wss://localhost", ssl_context=other)
    assert Config.discover(url="wss://localhost", ssl_context=context).ssl_context is context
    assert "ssl_context=<" in repr(config)


@pytest.mark.parametrize("beside", ["ca_file", "client_cert", "tls_fingerprint"])
def test_a_context_of_ones_own_stands_alone(beside: str) -> None:
    context = ssl.create_default_context()
    with pytest.raises(ConfigError, match=f"ssl_context and {beside} exclude each other"):
        Config(url="wss://localhost", ssl_context=context, **{beside: "ab" * 32})


def test_a_config_with_a_context_is_copied_but_not_pickled() -> None:
    config = Config(url="wss://localhost", ssl_context=ssl.create_default_context())
    assert copy.copy(config) is config
    assert copy.deepcopy({"config": config})["config"] is config
    with pytest.raises(ConfigError, match="cannot be sent to another process"):
        pickle.dumps(config)
    plain = Config(url="wss://localhost", token="t")
    assert pickle.loads(pickle.dumps(plain)) == plain


def test_the_url_is_taken_apart_once() -> None:
    """Every attempt asks for it several times."""
    config = Config(url="ws://127.0.0.1:18789")
    twin = pickle.loads(pickle.dumps(config))
    other = dataclasses.replace(config, url="ws://127.0.0.1:18790")
    assert other.endpoint.port == 18790
    assert config.endpoint is config.endpoint
    assert twin.endpoint == config.endpoint
    assert twin == config


def test_a_fleets_worker_keeps_no_credentials_of_the_gateway() -> None:
    config = Config(
        url="redis://worker:of-redis@10.0.0.5/0",
        fleet="prod",
        fleet_secret="sixteen or more of them",
        token="of-the-gateway",
        password="of-the-gateway",
        device_token="of-the-gateway",
    )
    assert (config.token, config.password, config.device_token) == (None, None, None)
    assert (config.url, config.redis_password) == ("redis://worker@10.0.0.5/0", "of-redis")
    for secret in ("of-redis", "sixteen", "of-the-gateway"):
        assert secret not in repr(config)
