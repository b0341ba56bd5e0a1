"""Secrets are in no log, no repr, no error and no traceback, at DEBUG too."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.testing import LocalGateway

CANARY = "c4n4ry-t0k3n/+=" + "x" * 20


def spellings(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, quote(secret, safe=""), encoded, json.dumps(secret)[1:-1]}


def shown(value: Any) -> list[str]:
    """Every way in which an object is commonly put in front of somebody."""
    seen = [repr(value), str(value)]
    if isinstance(value, BaseException):
        told = traceback.TracebackException.from_exception(value)
        seen += ["".join(told.format()), repr(vars(value)), repr(value.args)]
        seen.append(repr(pickle.loads(pickle.dumps(value)).__dict__))
    return seen


def test_no_secret_is_shown_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    out: list[str] = []
    with LocalGateway(token=CANARY) as gateway:
        good = gwsync.Config(url=gateway.url, token=CANARY, state_dir=str(tmp_path))
        pushes: list[Any] = []
        with gwsync.Connection(good) as connection:
            connection.subscribe(pushes.append)
            hello = connection.connect()
            connection.request("health")
            with pytest.raises(gwsync.GatewayError) as no_such:
                connection.request("no.such", {"a": 1})
            gateway.drop()
            eventually(lambda: connection.status().reconnects, "it came back", 20)
            gateway.change_token(CANARY + "2")
            with pytest.raises(gwsync.GatewayError) as changed:
                connection.wait(20)
            status = connection.status()
            for value in (good, connection, hello, status, no_such.value, changed.value, *pushes):
                out += shown(value)
            out.append(repr(dict(hello.raw)))
        for wrong in ({"token": CANARY}, {"password": CANARY}, {"device_token": CANARY}):
            other = gwsync.Config(url=gateway.url, state_dir=str(tmp_path), **wrong)
            with gwsync.Connection(other) as refused:
                with pytest.raises(gwsync.AuthError) as error:
                    refused.connect()
                out += [*shown(other), *shown(error.value), *shown(refused.status())]
    out.append(caplog.text)
    out += [record.getMessage() for record in caplog.records]

    stored = json.loads((tmp_path / "tokens.json").read_text())
    issued = [entry["token"] for entry in stored.values()]
    private = json.loads((tmp_path / "device.json").read_text())["privateKey"]
    assert "gwsync.dial" in caplog.text  # so there was something to look through
    assert issued
    text = "\n".join(out)
    for secret in (CANARY, private, *issued):
        for spelling in spellings(secret):
            assert spelling not in text
