"""Where settings come from, and where a credential may not go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gwsync.config import Config, _same_gateway
from gwsync.discovery import config_path, discover
from gwsync.errors import ConfigError

OTHER = "wss://other.example.com"


class Machine:
    """An environment and OpenClaw's config file in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = {"OPENCLAW_HOME": str(home)}
        self.path = home / ".openclaw" / "openclaw.json"

    def write(self, tree: Any, name: str = "openclaw.json") -> Path:
        path = self.path.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
        return path

    def find(self, given: dict[str, Any] | None = None, **environ: str) -> dict[str, Any]:
        return discover(given or {}, _same_gateway, {**self.environ, **environ}).values

    def sources(self, **environ: str) -> dict[str, str]:
        return discover({}, _same_gateway, {**self.environ, **environ}).sources


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


LOCAL = {"gateway": {"port": 19000, "auth": {"token": "file-token", "password": "file-pw"}}}
REMOTE = {
    "gateway": {
        "mode": "remote",
        "remote": {"url": "wss://box.ts.net", "token": "remote-token", "tlsFingerprint": "ab" * 32},
        "auth": {"token": "local-token", "password": "local-pw"},
    }
}


def test_nothing_anywhere_is_the_default_port(machine: Machine) -> None:
    assert machine.find() == {"url": "ws://127.0.0.1:18789"}
    assert machine.sources() == {"url": "default"}


def test_a_local_gateway_by_its_config_file(machine: Machine) -> None:
    path = machine.write(LOCAL)
    assert machine.find() == {
        "url": "ws://127.0.0.1:19000",
        "token": "file-token",
        "password": "file-pw",
    }
    assert machine.sources() == {
        "url": f"{path}: gateway.port",
        "token": f"{path}: gateway.auth.token",
        "password": f"{path}: gateway.auth.password",
    }


def test_a_remote_gateway_by_its_config_file(machine: Machine) -> None:
    machine.write(REMOTE)
    assert machine.find() == {
        "url": "wss://box.ts.net",
        "tls_fingerprint": "ab" * 32,
        "token": "remote-token",
        "password": "local-pw",
    }


def test_the_environment_beats_the_file_where_the_gateways_own_clients_say_so(
    machine: Machine,
) -> None:
    environ = {"OPENCLAW_GATEWAY_TOKEN": "env-token", "OPENCLAW_GATEWAY_PASSWORD": "env-pw"}
    machine.write({"gateway": {"auth": {"token": "file-token"}, "remote": {"password": "r"}}})
    local = machine.find(**environ)
    assert (local["token"], local["password"]) == ("file-token", "env-pw")
    machine.write(REMOTE)
    remote = machine.find(**environ)
    assert (remote["token"], remote["password"]) == ("remote-token", "env-pw")


def test_gwsync_variables_beat_everything(machine: Machine) -> None:
    machine.write(LOCAL)
    found = machine.find(GWSYNC_TOKEN="own", GWSYNC_SCOPES="a, b,", GWSYNC_CONNECT_TIMEOUT="2.5")
    assert found["url"] == "ws://127.0.0.1:19000"
    assert (found["token"], found["scopes"], found["connect_timeout"]) == ("own", ("a", "b"), 2.5)
    assert "password" not in found  # one credential is known, no other is looked for


# -- a credential read for one URL never goes to another ---------------------------------


def test_an_explicit_url_gets_no_credential_of_another(machine: Machine) -> None:
    machine.write(LOCAL)
    environ = {
        "GWSYNC_URL": "wss://box.ts.net",
        "GWSYNC_TOKEN": "box-token",
        "OPENCLAW_GATEWAY_TOKEN": "env-token",
    }
    assert "token" not in machine.find({"url": OTHER}, **environ)
    assert "password" not in machine.find({"url": OTHER}, **environ)


def test_the_same_url_written_differently_is_the_same(machine: Machine) -> None:
    environ = {"GWSYNC_URL": "wss://box.ts.net:443/", "GWSYNC_TOKEN": "box-token"}
    assert machine.find({"url": "WSS://box.ts.net"}, **environ)["token"] == "box-token"


def test_a_token_set_without_a_url_is_for_whatever_url_is_said(machine: Machine) -> None:
    assert machine.find({"url": OTHER}, GWSYNC_TOKEN="t")["token"] == "t"


def test_a_url_of_the_environment_gets_credentials_of_the_environment_only(
    machine: Machine,
) -> None:
    machine.write(LOCAL)
    assert "token" not in machine.find(GWSYNC_URL=OTHER)
    found = machine.find(OPENCLAW_GATEWAY_URL=OTHER, OPENCLAW_GATEWAY_TOKEN="t")
    assert found == {"url": OTHER, "token": "t"}
    assert machine.find(OPENCLAW_GATEWAY_URL=OTHER) == {"url": OTHER}


def test_an_explicit_token_is_not_joined_by_a_found_password(machine: Machine) -> None:
    machine.write(LOCAL)
    assert machine.find({"token": "mine"}) == {"url": "ws://127.0.0.1:19000"}


# -- the file -------------------------------------------------------------------------------


def test_the_file_may_be_json5_with_references_includes_and_secret_refs(machine: Machine) -> None:
    machine.write("{auth: {token: {source: 'env', provider: 'p', id: 'SECRET'}}}", "auth.json5")
    machine.write(
        """// a comment
        {gateway: {$include: './auth.json5', port: 0x4a38, auth: {password: 'pw-${SUFFIX}'}},}"""
    )
    found = machine.find(SECRET="from-env", SUFFIX="7")
    assert found == {"url": "ws://127.0.0.1:19000", "token": "from-env", "password": "pw-7"}


def test_a_secret_ref_of_another_source_is_no_credential(machine: Machine) -> None:
    machine.write({"gateway": {"auth": {"token": {"source": "exec", "id": "x"}}}})
    assert "token" not in machine.find()


def test_tls_and_ports(machine: Machine) -> None:
    machine.write({"gateway": {"tls": {"enabled": True}}})
    assert machine.find()["url"] == "wss://127.0.0.1:18789"
    assert machine.find(OPENCLAW_GATEWAY_PORT="4711")["url"] == "wss://127.0.0.1:4711"


def test_a_profile_has_a_directory_and_a_port_of_its_own(machine: Machine) -> None:
    assert config_path({"OPENCLAW_HOME": "/h", "OPENCLAW_PROFILE": "dev"}) == (
        "/h/.openclaw-dev/openclaw.json"
    )
    assert config_path({"OPENCLAW_HOME": "/h", "OPENCLAW_PROFILE": "default"}) == (
        "/h/.openclaw/openclaw.json"
    )
    # FNV-1a of "a" is 0xe40c292c, by its authors' own table
    port = 20000 + 0xE40C292C % 40000
    assert machine.find(OPENCLAW_PROFILE="a")["url"] == f"ws://127.0.0.1:{port}"


def test_where_the_file_is(tmp_path: Path) -> None:
    assert config_path({"OPENCLAW_CONFIG_PATH": "/c.json", "OPENCLAW_HOME": "/h"}) == "/c.json"
    assert config_path({"OPENCLAW_STATE_DIR": "/s", "OPENCLAW_HOME": "/h"}) == "/s/openclaw.json"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{gateway: ", "not valid JSON5"),
        ('{"gateway": {"$include": "missing.json"}}', "does not exist"),
        ('{"$include": "openclaw.json"}', "includes itself"),
        ('{"gateway": {"auth": {"token": "${NOT_SET}"}}}', "NOT_SET, which is not set"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(machine: Machine, text: str, says: str) -> None:
    machine.write(text)
    with pytest.raises(ConfigError, match=says):
        machine.find()
    assert machine.find({"url": OTHER}) == {}  # and is not read where it is not needed


def test_a_file_of_another_shape_has_no_answers(machine: Machine) -> None:
    for text in ("[1]", '{"gateway": 7}', '{"gateway": {"port": "x", "auth": []}}', "null"):
        machine.write(text)
        assert machine.find() == {"url": "ws://127.0.0.1:18789"}


@pytest.mark.parametrize(
    "environ",
    [
        {"GWSYNC_CONNECT_TIMEOUT": "soon"},
        {"OPENCLAW_GATEWAY_PORT": "0"},
        {"OPENCLAW_GATEWAY_PORT": "99999"},
        {"OPENCLAW_GATEWAY_PORT": "http"},
    ],
    ids=str,
)
def test_a_variable_that_cannot_be_read_is_named(machine: Machine, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(environ))):
        machine.find(**environ)


# -- Config.discover ----------------------------------------------------------------------------


@pytest.fixture
def process(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in (*machine.environ,):
        monkeypatch.setenv(name, machine.environ[name])
    return machine


def test_discover_says_which_source_won(process: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = process.write(LOCAL)
    monkeypatch.setenv("GWSYNC_REQUEST_TIMEOUT", "7")
    config = Config.discover(role="operator")
    assert (config.url, config.token, config.request_timeout) == (
        "ws://127.0.0.1:19000",
        "file-token",
        7.0,
    )
    assert config.sources["url"] == f"{path}: gateway.port"
    assert config.sources["token"] == f"{path}: gateway.auth.token"
    assert config.sources["request_timeout"] == "GWSYNC_REQUEST_TIMEOUT"
    assert config.sources["role"] == "argument"
    assert config.sources["ca_file"] == "default"
    assert "file-token" not in repr(config)
    assert "file-token" not in str(config.sources)


def test_sources_do_not_make_a_config_another(process: Machine) -> None:
    found = Config.discover(url="ws://127.0.0.1:18789")
    assert found == Config(state_dir=found.state_dir)
    assert hash(found) == hash(Config(state_dir=found.state_dir))


def test_an_unknown_setting_is_named(process: Machine) -> None:
    with pytest.raises(ConfigError, match="no setting named tokn"):
        Config.discover(tokn="x")
