"""What lets a client in, what no longer does, and who hears of it: cases as in cases.py."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync

from .cases import ADMIN, CHEAP, READ, WRITE, is_state
from .fixtures import Open
from .target import Target
from .tools import Counter, Log, Script, elapsed_below, eventually

EVERYTHING = (READ, WRITE, ADMIN)


def way_in(hello: gwsync.Hello) -> str:
    """How the gateway says one got in."""
    return str(hello.raw["auth"]["method"])


class Tokens:
    """The device tokens in a state directory, as a person with an editor sees them."""

    def __init__(self, state_dir: str) -> None:
        self._path = Path(state_dir) / "tokens.json"

    def read(self) -> dict[str, str]:
        """By gateway, device and role; nothing while there is no file."""
        if not self._path.exists():
            return {}
        entries = json.loads(self._path.read_text())
        return {key: entry["token"] for key, entry in entries.items()}

    def remove(self) -> None:
        """Forget them all."""
        self._path.unlink()

    def spoil(self) -> str:
        """Put a wrong token in the place of the only one; what is there now."""
        entries = json.loads(self._path.read_text())
        (entry,) = entries.values()
        entry["token"] = wrong = "x" * len(entry["token"])
        self._path.write_text(json.dumps(entries))
        return wrong


@pytest.fixture
def tokens(state_dir: str) -> Tokens:
    """What is stored for the test's connections."""
    return Tokens(state_dir)


@pytest.fixture
def paired(open_to: Open, gateway: Target) -> None:
    """A device that the gateway knows, with its token on disk."""
    with open_to(gateway) as connection:
        connection.connect(timeout=30)


@pytest.fixture
def shouts(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """Log lines of gwsync at ERROR and above."""
    lines: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lines.append  # type: ignore[method-assign]
    logger = logging.getLogger("gwsync")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


# -- the ways of a gateway to let people in ---------------------------------------


def test_a_password_lets_in_and_then_the_device_token(
    password_gateway: Target, open_to: Open
) -> None:
    secret = password_gateway.token
    with open_to(password_gateway, token=None, password=secret) as connection:
        hello = connection.connect(timeout=30)
        assert way_in(hello) == "password"
        assert set(hello.scopes or ()) == {READ, WRITE}
        assert isinstance(connection.request(CHEAP), list)
    with open_to(password_gateway, token=None) as again:
        assert way_in(again.connect(timeout=30)) == "device-token"


def test_a_wrong_password_is_one_clear_error_and_no_loop(
    password_gateway: Target, open_to: Open
) -> None:
    with Counter(password_gateway.url) as counter:
        connection = open_to(
            password_gateway, url=counter.url, token=None, password="not-the-password"
        )
        with pytest.raises(gwsync.AuthError) as caught:
            connection.connect(timeout=30)
        text = str(caught.value)
        assert "GWSYNC_PASSWORD" in text or "gateway.auth.password" in text
        assert "not-the-password" not in text
        assert (connection.status().state, counter.accepted) == ("parked", 1)


def test_no_password_at_all_says_what_is_wanted(password_gateway: Target, open_to: Open) -> None:
    with pytest.raises(gwsync.AuthError, match="password") as caught:
        open_to(password_gateway, token=None).connect(timeout=30)
    assert caught.value.code == "AUTH_PASSWORD_MISSING"


@pytest.mark.parametrize("token", [None, "of-another-gateway"])
def test_a_gateway_that_asks_for_nothing(
    open_gateway: Target, open_to: Open, token: str | None
) -> None:
    connection = open_to(open_gateway, token=token)
    hello = connection.connect(timeout=30)
    assert way_in(hello) == "none"
    assert set(hello.scopes or ()) == {READ, WRITE}
    assert connection.request("health")["ok"] is True


# -- more scopes, fewer scopes ------------------------------------------------------


def test_more_scopes_asked_for_later(gateway: Target, open_to: Open, tokens: Tokens) -> None:
    with open_to(gateway, scopes=(READ,)) as connection:
        assert connection.connect(timeout=30).scopes == (READ,)
    (first,) = tokens.read().values()

    with open_to(gateway, token=None, scopes=EVERYTHING) as connection:
        with pytest.raises(gwsync.ScopeError) as caught:
            connection.connect(timeout=30)
        assert "the gateway's token" in caught.value.hint
        assert connection.status().state == "parked"
    assert list(tokens.read().values()) == [first], "a token that is still good was dropped"

    with open_to(gateway, scopes=EVERYTHING) as connection:
        assert set(connection.connect(timeout=30).scopes or ()) == set(EVERYTHING)
    (second,) = tokens.read().values()
    assert second != first

    with open_to(gateway, token=None, scopes=EVERYTHING) as connection:
        hello = connection.connect(timeout=30)
        assert way_in(hello) == "device-token"
        assert set(hello.scopes or ()) == set(EVERYTHING)
        with pytest.raises(gwsync.RequestError) as wrong:
            connection.request("sessions.lsit")
        assert wrong.value.code == "INVALID_REQUEST", "an admin is told what is wrong"


def test_fewer_scopes_narrow_one_connection_only(
    gateway: Target, open_to: Open, tokens: Tokens
) -> None:
    with open_to(gateway, scopes=EVERYTHING) as connection:
        connection.connect(timeout=30)
    before = tokens.read()
    for token in (None, gateway.token):  # by its own token, and by the shared one
        with open_to(gateway, token=token, scopes=(READ,)) as connection:
            assert connection.connect(timeout=30).scopes == (READ,)
            with pytest.raises(gwsync.MissingScope):
                connection.request("sessions.delete", {"key": "agent:main:none"})
    assert tokens.read() == before
    with open_to(gateway, token=None, scopes=EVERYTHING) as connection:
        assert set(connection.connect(timeout=30).scopes or ()) == set(EVERYTHING)


# -- a token that changes -----------------------------------------------------------


def test_an_edited_token_parks_and_says_so_once(
    gateway: Target,
    open_to: Open,
    counter: Counter,
    state_dir: str,
    shouts: list[logging.LogRecord],
) -> None:
    connection, log = open_to(gateway, url=counter.url), Log()
    connection.subscribe(log)
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    heard: list[BaseException] = []

    def wait_for_a_run() -> None:
        try:
            connection.request("agent.wait", {"runId": "nobody-s", "timeoutMs": 60_000}, timeout=60)
        except gwsync.GatewayError as error:
            heard.append(error)

    caller = threading.Thread(target=wait_for_a_run, daemon=True)
    caller.start()
    eventually(lambda: connection.status().pending == 1, "the call is under way")

    gateway.edit_token("the-second-token")
    log.wait(lambda push: is_state(push, "parked"), "callbacks hear that it is parked")
    caller.join(5)
    assert [type(error) for error in heard] == [gwsync.ConnectionLost]
    assert heard[0].outcome == "maybe"  # type: ignore[attr-defined]
    with elapsed_below(1, "a request on a parked connection"):
        for ask in (lambda: connection.request("health"), lambda: connection.wait(timeout=5)):
            with pytest.raises(gwsync.GatewayError) as caught:
                ask()
            assert "4001" in str(caught.value)
            assert "token" in str(caught.value), "it does not say what to do"

    with open_to(gateway) as witness:  # the gateway is there, and takes the new token
        assert witness.request("health", timeout=30)["ok"] is True
    status = connection.status()
    assert (status.state, status.next_attempt_in, counter.accepted) == ("parked", None, 1)
    assert [line.name for line in shouts] == ["gwsync.session"], [str(line) for line in shouts]

    connection.configure(counter.url, token="the-second-token", state_dir=state_dir)
    connection.connect(timeout=30)
    assert connection.request("health")["ok"] is True
    assert counter.accepted == 2


def test_an_edited_token_is_read_again_where_it_was_found(
    gateway: Target,
    open_to: Open,
    environment: pytest.MonkeyPatch,
    shouts: list[logging.LogRecord],
) -> None:
    environment.setenv("OPENCLAW_CONFIG_PATH", str(gateway.config_path))
    connection, log = open_to(None), Log()
    connection.subscribe(log)
    first = log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    assert connection.status().url == gateway.url

    gateway.edit_token("the-third-token")
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "it is back", after=first)
    assert connection.request("health", timeout=30)["ok"] is True
    assert connection.status().sockets_opened == 2
    assert not any(is_state(push, "parked") for push in log.pushes)
    assert not shouts


def test_a_gateway_that_dies_and_returns_with_another_token(
    gateway: Target,
    open_to: Open,
    counter: Counter,
    environment: pytest.MonkeyPatch,
    tokens: Tokens,
    shouts: list[logging.LogRecord],
) -> None:
    """Its port is never refused here, as behind a proxy: the refused token must do."""
    environment.setenv("OPENCLAW_CONFIG_PATH", str(gateway.config_path))
    environment.setenv("OPENCLAW_GATEWAY_PORT", counter.url.rpartition(":")[2])
    connection, log = open_to(None), Log()
    connection.configure(reconnect=gwsync.ReconnectPolicy(max=1.0))
    connection.subscribe(log)
    first = log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    tokens.remove()  # nor does the device's own token help: over wss it is not tried
    gateway.die_and_return("the-fourth-token")
    log.wait(
        lambda push: isinstance(push, gwsync.Snapshot) or is_state(push, "parked"),
        "it is back, or given up",
        after=first,
        timeout=90,
    )
    assert not any(is_state(push, "parked") for push in log.pushes)
    assert connection.request("health", timeout=30)["ok"] is True
    assert not shouts


# -- the device's own token -----------------------------------------------------------


@pytest.mark.usefixtures("paired")
def test_a_stored_token_that_is_wrong_is_forgotten(
    gateway: Target, open_to: Open, tokens: Tokens
) -> None:
    wrong = tokens.spoil()
    with open_to(gateway, token="not-the-token") as connection, pytest.raises(gwsync.AuthError):
        connection.connect(timeout=30)
    assert list(tokens.read().values()) == [wrong], "it had nothing to do with that"

    with open_to(gateway, token=None) as connection, pytest.raises(gwsync.AuthError) as caught:
        connection.connect(timeout=30)
    assert caught.value.code == "AUTH_DEVICE_TOKEN_MISMATCH"
    assert "connect once with the gateway's token" in caught.value.hint
    assert not tokens.read()

    with open_to(gateway) as connection:  # as the hint says
        connection.connect(timeout=30)
    with open_to(gateway, token=None) as connection:
        assert way_in(connection.connect(timeout=30)) == "device-token"


@pytest.mark.usefixtures("paired")
def test_a_wrong_token_in_the_environment_has_a_second_chance(
    gateway: Target, open_to: Open, environment: pytest.MonkeyPatch, tokens: Tokens
) -> None:
    """On loopback the device's own token is tried once where the shared one is refused."""
    before = tokens.read()
    environment.setenv("GWSYNC_URL", gateway.url)
    environment.setenv("GWSYNC_TOKEN", "not-the-token")
    connection = open_to(None)
    assert way_in(connection.connect(timeout=30)) == "device-token"
    assert connection.request("health")["ok"] is True
    assert (connection.status().attempts, connection.status().sockets_opened) == (1, 2)
    assert tokens.read() == before


@pytest.mark.usefixtures("paired")
def test_a_wrong_token_that_was_said_has_no_second_chance(
    gateway: Target, environment: pytest.MonkeyPatch, tokens: Tokens
) -> None:
    before = tokens.read()
    with gwsync.Connection() as connection:
        connection.configure(gateway.url, token="not-the-token")
        with pytest.raises(gwsync.AuthError) as caught:
            connection.connect(timeout=30)
        assert caught.value.code == "AUTH_TOKEN_MISMATCH"
        status = connection.status()
        assert (status.state, status.attempts, status.sockets_opened) == ("parked", 1, 1)
    assert tokens.read() == before


def test_two_wrong_tokens_are_told_as_the_first(
    gateway: Target, open_to: Open, environment: pytest.MonkeyPatch, tokens: Tokens, paired: None
) -> None:
    tokens.spoil()
    environment.setenv("GWSYNC_URL", gateway.url)
    environment.setenv("GWSYNC_TOKEN", "not-the-token")
    connection = open_to(None)
    with pytest.raises(gwsync.AuthError) as caught:
        connection.connect(timeout=30)
    assert caught.value.code == "AUTH_TOKEN_MISMATCH"
    assert not tokens.read(), "the stored one was refused as well: it goes"
    assert connection.status().sockets_opened == 2


# -- one identity for all ---------------------------------------------------------------

NEWCOMER = """
import os, sys, time
import gwsync
print("ready", flush=True)
while not os.path.exists(os.environ["STARTING_GUN"]):
    time.sleep(0.0005)
print(gwsync.request("health", timeout=30)["ok"], flush=True)
"""


def test_processes_that_are_new_at_once_are_one_device(
    gateway: Target, open_to: Open, state_dir: str, tokens: Tokens, tmp_path: Path
) -> None:
    gun = tmp_path / "gun"
    env: dict[str, Any] = {
        "GWSYNC_URL": gateway.url,
        "GWSYNC_TOKEN": gateway.token,
        "GWSYNC_STATE_DIR": state_dir,
        "STARTING_GUN": str(gun),
    }
    with Script(NEWCOMER, env) as one, Script(NEWCOMER, env) as other:
        for script in (one, other):
            script.expect("ready")
        gun.touch()
        for script in (one, other):
            script.expect("True")
            assert script.end() == (0, "")
    files = sorted(path.name for path in Path(state_dir).iterdir())
    assert files == ["device.json", "tokens.json", "tokens.json.lock"]
    assert len(tokens.read()) == 1, "two identities were in use"
    with open_to(gateway, token=None) as connection:
        assert way_in(connection.connect(timeout=30)) == "device-token"
