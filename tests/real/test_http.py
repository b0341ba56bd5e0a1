"""gwsync.http against a real gateway, and LocalGateway beside it where they could differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.testing import LocalGateway
from real.conftest import running
from real.runner import RealGateway


class WithChat(RealGateway):
    """With /v1/chat/completions switched on, which it is not by default."""

    def _write_config(self) -> None:
        super()._write_config()
        config = json.loads(self.config_path.read_text())
        endpoints = {"chatCompletions": {"enabled": True}}
        config["gateway"]["http"] = {"endpoints": endpoints}
        self.config_path.write_text(json.dumps(config))


@pytest.fixture(scope="module")
def chatty() -> Iterator[RealGateway]:
    with WithChat() as gateway:
        yield gateway


@pytest.fixture(scope="module", params=["real", "local"])
def target(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "real":
        yield request.getfixturevalue("chatty")
    else:
        with LocalGateway() as local:
            yield local


@pytest.fixture
def ours(target: Any, tmp_path: Path) -> Iterator[Any]:
    config = gwsync.Config(url=target.url, token=target.token, state_dir=str(tmp_path))
    with gwsync.Connection(config) as connection:
        yield connection.http


def refused(function: Any, *args: Any, **options: Any) -> Any:
    with pytest.raises(gwsync.GatewayError) as caught:
        function(*args, **options)
    return caught.value


def test_health_and_ready(ours: Any) -> None:
    assert ours.health() == {"ok": True, "status": "live"}
    assert ours.ready(wait=60) is True


def test_tools(ours: Any, target: Any, tmp_path: Path) -> None:
    result = ours.tools_invoke("sessions_list")
    assert json.loads(result["content"][0]["text"]) == result["details"]
    assert result["details"]["hasMore"] is False
    error = refused(ours.tools_invoke, "nope")
    assert (type(error), error.code) == (gwsync.RequestError, "not_found")
    assert error.message == "Tool not available: nope"
    stranger = gwsync.Connection(gwsync.Config(url=target.url, token="wrong"))
    error = refused(stranger.http.tools_invoke, "sessions_list")
    assert (type(error), error.code) == (gwsync.AuthError, "HTTP_401")


def test_a_completion(ours: Any) -> None:
    stream = ours.chat_completions("words=5 delay=30", session_key="http-test")
    assert "".join(stream) == "word0 word1 word2 word3 word4"
    assert stream.finish_reason == "stop"
    whole = ours.chat_completions("words=2 delay=0", stream=False)
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "word0 word1"}


@pytest.mark.parametrize(
    ("messages", "options", "words"),
    [([], {}, "Missing user message"), ("hello", {"model": "gpt"}, "Invalid `model`")],
)
def test_a_completion_that_cannot_be(
    ours: Any, messages: Any, options: dict[str, Any], words: str
) -> None:
    error = refused(ours.chat_completions, messages, **options)
    assert type(error) is gwsync.RequestError
    assert (error.code, error.outcome) == ("invalid_request_error", "rejected")
    assert words in error.message


def test_leaving_early_ends_the_run(ours: Any, target: Any, tmp_path: Path) -> None:
    config = gwsync.Config(url=target.url, token=target.token, state_dir=str(tmp_path))
    ended: list[Any] = []
    with gwsync.Connection(config) as watcher:
        watcher.connect()

        @watcher.on("agent", replay=False)
        def note(push: Any) -> None:
            if push.name == "agent" and push.payload.get("stream") == "lifecycle":
                ended.append(push.payload["data"].get("phase"))

        with ours.chat_completions("words=600 delay=50") as stream:
            assert next(stream)
        eventually(lambda: "end" in ended or "error" in ended, "the run is over", 20)


def test_switched_off(tmp_path: Path) -> None:
    with running("2026.9.6") as real, LocalGateway(chat_completions=False) as local:
        for gateway in (real, local):
            config = gwsync.Config(url=gateway.url, token=gateway.token, state_dir=str(tmp_path))
            error = refused(gwsync.Connection(config).http.chat_completions, "hello")
            assert (type(error), error.code) == (gwsync.RequestError, "HTTP_404")
            assert "chatCompletions.enabled" in error.hint
