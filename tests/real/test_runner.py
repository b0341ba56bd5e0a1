"""The runner and the bare client are right: no gwsync in any of this."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from conformance.tools import eventually
from real.bare import BareClient, BareError
from real.install import node_major, release
from real.runner import RealGateway
from real.stub_llm import StubLLM, plan


def cli(gateway: RealGateway) -> BareClient:
    """A client without a device that keeps the read scope on loopback."""
    return BareClient(gateway.url, gateway.token, kind="cli")


def test_it_is_the_gateway_we_asked_for(gateway: RealGateway) -> None:
    with cli(gateway) as client:
        assert client.hello["server"]["version"] == gateway.version
        assert client.hello["auth"]["scopes"] == ["operator.read"]
        assert client.request("health")["ok"] is True


def test_a_test_client_comes_and_goes_with_presence_events(gateway: RealGateway) -> None:
    with cli(gateway) as client:
        with gateway.join_test_client() as other:
            assert other.hello["auth"]["scopes"] == []
            entries = client.wait_event("presence")["payload"]["presence"]
            assert any(entry.get("mode") == "test" for entry in entries)
        client.wait_event("presence")


def test_a_wrong_token_is_refused(gateway: RealGateway) -> None:
    with pytest.raises(BareError) as caught:
        BareClient(gateway.url, "not-the-token", kind="cli")
    assert caught.value.error["details"]["code"] == "AUTH_TOKEN_MISMATCH"


def test_nothing_is_left_when_the_test_process_is_killed() -> None:
    """SIGKILL runs no clean-up of ours; the guard has to do it.

    It strikes while the gateway starts, as soon as that has a helper process of its own.
    """
    source = textwrap.dedent(
        """
        import re, signal, time
        from real.runner import RealGateway
        gateway = RealGateway(llm_stub=False)
        gateway.wait_ready = lambda: None
        gateway.start()
        while not (found := re.search(r"spawn broker ready pid=(\\d+)", gateway.log_tail())):
            gateway._alive_pid()
            time.sleep(0.05)
        print(gateway.pid, found[1], gateway.directory, flush=True)
        signal.pause()
        """
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    child = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, env=env)
    try:
        assert child.stdout is not None
        *pids, directory = child.stdout.readline().decode().split()
        assert len(pids) == 2
        assert alive(int(pids[0])), "it had ended before"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()  # type: ignore[union-attr]
    for pid in pids:
        eventually(lambda pid=pid: not alive(int(pid)), "the gateway ended with its test process")
    eventually(lambda: not Path(directory).exists(), "its directory is gone")


def alive(pid: int) -> bool:
    """Whether that process exists; a zombie nobody has reaped yet does not count."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_the_stub_model_speaks_openai() -> None:
    def ask(url: str, text: str, stream: bool) -> str:
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}
        request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return str(answer.read().decode())

    with StubLLM() as stub:
        whole = json.loads(ask(stub.url, "words=3 delay=0", False))
        assert whole["choices"][0]["message"]["content"] == "word0 word1 word2"
        lines = ask(stub.url, "delay=0 echo:a b\nmore", True).split("\n\n")
        assert lines[-2] == "data: [DONE]"
        chunks: list[dict[str, Any]] = [json.loads(line[6:]) for line in lines[:-2]]
        deltas = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
        assert "".join(deltas) == "a b"
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(stub.url, "fail=429", True)
        assert caught.value.code == 429
        caught.value.close()
        assert stub.prompts == ["words=3 delay=0", "delay=0 echo:a b\nmore", "fail=429"]


def test_the_last_directive_wins() -> None:
    assert plan("words=3 then words=2 delay=1").pieces == ["word0 ", "word1"]


def test_releases_compare_and_know_their_node() -> None:
    assert release("2026.10.1") > release("2026.9.6")
    assert [node_major(version) for version in ("2026.2.26", "2026.7.1", "2026.9.6")] == [
        24,
        24,
        26,
    ]
