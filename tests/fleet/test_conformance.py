"""The conformance cases against LocalGateway, by way of a fleet."""

from __future__ import annotations

from dataclasses import replace

import pytest

import gwsync
from conformance.approvals import *  # noqa: F403
from conformance.approvals import SCOPES
from conformance.cases import *  # noqa: F403
from conformance.cases import READ, is_state
from conformance.credentials import *  # noqa: F403
from conformance.credentials import Tokens, way_in
from conformance.fixtures import *  # noqa: F403
from conformance.fixtures import Open
from conformance.local import LocalTarget
from conformance.services import *  # noqa: F403
from conformance.sessions import *  # noqa: F403
from conformance.starting import *  # noqa: F403
from conformance.tools import Counter, InThread, Log, elapsed_below
from fleet.conforming import *  # noqa: F403

# Cases that cannot mean the same over a fleet, and why; what they would mean is below.
OTHERWISE = {
    "test_an_edited_token_parks_and_says_so_once": (
        "a worker has no token to be given anew with configure(), and a call that waits in it "
        "is as pending as one that the gateway has"
    ),
    "test_an_edited_token_is_read_again_where_it_was_found": (
        "a worker's status shows where the fleet meets: only the owner knows the gateway's url"
    ),
    "test_a_wrong_token_in_the_environment_has_a_second_chance": (
        "sockets that never became a link are the owner's: no worker hears of them"
    ),
    "test_a_wrong_token_that_was_said_has_no_second_chance": (
        "configure() with the gateway's url is what leaves a fleet"
    ),
    "test_two_wrong_tokens_are_told_as_the_first": (
        "sockets that never became a link are the owner's: no worker hears of them"
    ),
    "test_processes_that_are_new_at_once_are_one_device": (
        "workers are no devices; owners are made as any connection, and the case has those"
    ),
    "test_what_is_recorded_has_no_token_and_plays": (
        "what is recorded is a link's bytes: a recording is made of a connection of one's own"
    ),
}
for _name in OTHERWISE:
    del globals()[_name]  # a KeyError here: there is no such case any more


def test_an_edited_token_parks_the_whole_fleet(gateway: LocalTarget, open_to: Open) -> None:
    connection, log = open_to(gateway), Log()
    connection.subscribe(log)
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    asked = InThread(connection.request, "agent.wait", {"runId": "nobody-s", "timeoutMs": 60_000})
    gateway.wait_requests("agent.wait")
    gateway.edit_token("the-second-token")
    log.wait(lambda push: is_state(push, "parked"), "callbacks hear that it is parked")
    with pytest.raises(gwsync.ConnectionLost) as lost:
        asked.result()
    assert lost.value.outcome == "maybe"
    with elapsed_below(1, "a request on a parked connection"):
        for ask in (lambda: connection.request("health"), lambda: connection.wait(timeout=5)):
            with pytest.raises(gwsync.GatewayError, match="4001"):
                ask()
    assert connection.status().state == "parked"


def test_connect_has_a_parked_owner_try_once_more(
    gateway: LocalTarget, open_to: Open, counter: Counter
) -> None:
    right, wrong = gateway.token, "the-second-token"
    connection = open_to(gateway, url=counter.url, token=wrong)
    for tried in (1, 2):
        with pytest.raises(gwsync.AuthError):
            connection.connect(timeout=30)
        assert (connection.status().state, counter.accepted) == ("parked", tried)
    other = gwsync.Connection(connection._configured())
    with other, pytest.raises(gwsync.AuthError):
        other.request("health")
    gateway.edit_token(wrong)
    hello = connection.connect(timeout=30)
    assert (connection.hello(), counter.accepted) == (hello, 3)
    assert connection.request("health")["ok"] is True
    gateway.edit_token(right)


def test_an_owner_reads_again_where_it_found_its_token(
    gateway: LocalTarget, open_to: Open, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("OPENCLAW_CONFIG_PATH", str(gateway.config_path))
    connection, log = open_to(None), Log()
    connection.subscribe(log)
    first = log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the snapshot")
    gateway.edit_token("the-third-token")
    log.wait(lambda push: isinstance(push, gwsync.Snapshot), "it is back", after=first)
    assert connection.request("health", timeout=30)["ok"] is True
    assert connection.status().sockets_opened == 2
    assert not any(is_state(push, "parked") for push in log.pushes)


@pytest.mark.usefixtures("paired")
def test_an_owners_wrong_token_has_a_second_chance(
    gateway: LocalTarget, open_to: Open, environment: pytest.MonkeyPatch, tokens: Tokens
) -> None:
    environment.setenv("GWSYNC_URL", gateway.url)
    environment.setenv("GWSYNC_TOKEN", "not-the-token")
    assert way_in(open_to(None).connect(timeout=30)) == "device-token"
    tokens.spoil()
    with pytest.raises(gwsync.AuthError) as caught:
        open_to(None).connect(timeout=30)
    assert caught.value.code == "AUTH_TOKEN_MISMATCH"
    assert not tokens.read(), "the stored one was refused as well: it goes"


def test_approvals_are_for_owners_that_said_so(gateway: LocalTarget, open_to: Open) -> None:
    """Whatever the worker's own config says: the gateway knows the owner's only."""
    granted = open_to(gateway, scopes=SCOPES, caps=("approvals",))
    with gwsync.Connection(replace(granted._configured(), scopes=(READ,), caps=())) as worker:
        worker.approvals.watch(print).close()
    plain = open_to(gateway)
    said = replace(plain._configured(), scopes=SCOPES, caps=("approvals",))
    with (
        gwsync.Connection(said) as worker,
        pytest.raises(gwsync.ConfigError, match=r"operator\.approvals"),
    ):
        worker.approvals.watch(print)
