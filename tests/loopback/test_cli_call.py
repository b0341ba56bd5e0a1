"""``gwsync call``: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwsync.testing import LocalGateway
from loopback.cli_support import LIMIT_S, Running, environment, run, run_on_terminal


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as local:
        local.on_method("echo", lambda params: params)
        yield local


@pytest.fixture
def env(gateway: LocalGateway, tmp_path: Path) -> dict[str, str]:
    """No secret in any argument: the environment tells it."""
    return {
        "GWSYNC_URL": gateway.url,
        "GWSYNC_TOKEN": gateway.token,
        "GWSYNC_STATE_DIR": str(tmp_path / "state"),
    }


def refused_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"ws://127.0.0.1:{listener.getsockname()[1]}"


def assert_says(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One sentence and the next step on stderr, nothing on stdout, the exit code."""
    assert (done.returncode, done.stdout) == (code, ""), done
    sentence, hint = done.stderr.splitlines()
    assert sentence.startswith("gwsync: ")
    assert hint.startswith("  -> ")
    for word in words:
        assert word in done.stderr


# -- answers ------------------------------------------------------------------------------
def test_the_answer_is_one_line_of_json_in_a_pipe(env: dict[str, str]) -> None:
    done = run("call", "health", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["ok"] is True


def test_the_answer_is_indented_on_a_terminal(env: dict[str, str]) -> None:
    code, seen = run_on_terminal("call", "echo", "a=1", "b=x", env=env, columns=80)
    assert (code, seen) == (0, '{\r\n  "a": 1,\r\n  "b": "x"\r\n}\r\n')


def test_values_are_json_if_they_read_as_json_else_strings(env: dict[str, str]) -> None:
    arguments = ("n=1", "t=true", "l=[1, 2]", 's="5"', "w=two words", "e=", "q=a=b", "c=NaN")
    done = run("call", "echo", *arguments, env=env)
    assert json.loads(done.stdout) == {
        "n": 1, "t": True, "l": [1, 2], "s": "5", "w": "two words", "e": "", "q": "a=b", "c": "NaN",
    }  # fmt: skip


def test_parameters_as_one_object_or_from_stdin(env: dict[str, str]) -> None:
    text = '{"deep": {"er": [null]}, "é": "日"}'
    assert json.loads(run("call", "echo", text, env=env).stdout) == json.loads(text)
    assert json.loads(run("call", "echo", "-", env=env, stdin=text).stdout) == json.loads(text)


def test_no_parameters_and_no_answer(gateway: LocalGateway, env: dict[str, str]) -> None:
    gateway.on_method("nothing", lambda params: None)
    assert run("call", "nothing", env=env).stdout == "null\n"
    assert not gateway.ledger[-1].params


def test_the_token_from_a_file(gateway: LocalGateway, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{gateway.token}\n")
    options = ("--url", gateway.url, "--token-file", str(file))
    done = run("call", "health", *options, env={"GWSYNC_STATE_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[LocalGateway, dict[str, str]]]:
    """A gateway that wants a password, and the environment to find it, without one."""
    with LocalGateway(auth="password", password="open-sesame") as local:
        yield local, {"GWSYNC_URL": local.url, "GWSYNC_STATE_DIR": str(tmp_path / "state")}


def test_the_password(locked: tuple[LocalGateway, dict[str, str]], tmp_path: Path) -> None:
    local, env = locked
    file = tmp_path / "password"
    file.write_text(f"{local.password}\n")
    for options, more in (
        (("--password", local.password), {}),
        (("--password-file", str(file)), {}),
        ((), {"GWSYNC_PASSWORD": local.password}),
    ):
        shutil.rmtree(env["GWSYNC_STATE_DIR"], ignore_errors=True)  # with its device token
        done = run("call", "health", *options, env={**env, **more})
        assert done.returncode == 0, (options, done.stderr)


def test_the_password_is_asked_for_and_not_shown(
    locked: tuple[LocalGateway, dict[str, str]],
) -> None:
    local, env = locked
    code, seen = run_on_terminal(
        "call", "health", "--password", env=env, columns=80, typed=("Password: ", local.password)
    )
    assert code == 0, seen
    assert local.password not in seen
    assert '"ok": true' in seen


def test_a_password_cannot_be_asked_for_in_a_pipe(
    locked: tuple[LocalGateway, dict[str, str]],
) -> None:
    done = run("call", "health", "--password", env=locked[1])
    assert_says(done, 2, "no terminal", "--password-file", "GWSYNC_PASSWORD")


def test_a_missing_password_says_where_to_put_it(
    locked: tuple[LocalGateway, dict[str, str]],
) -> None:
    done = run("call", "health", env=locked[1])
    assert_says(done, 4, "--password-file FILE", "GWSYNC_PASSWORD")


def test_both_address_families(gateway: LocalGateway, env: dict[str, str]) -> None:
    env = {**env, "GWSYNC_URL": f"ws://localhost:{gateway.port}"}
    done = run("call", "health", "-v", "--address-family", "any", env=env)
    assert done.returncode == 0, done.stderr
    assert "address family any" in done.stderr


def test_plaintext_over_a_public_network_is_refused_unless_allowed(tmp_path: Path) -> None:
    env = {"GWSYNC_STATE_DIR": str(tmp_path)}
    options = ("--url", "ws://192.88.99.1:1", "--timeout", "0.2")
    assert_says(run("call", "health", *options, env=env), 2, "or --allow-plaintext if you are sure")
    assert run("call", "health", *options, "--allow-plaintext", env=env).returncode == 3


def test_escape_sequences_of_the_gateway_arrive_as_json_escapes(
    gateway: LocalGateway, env: dict[str, str]
) -> None:
    hostile = "\x1b]0;owned\x07\x9b31m\u202e"
    gateway.on_method("hostile", lambda params: {hostile: hostile})
    done = run("call", "hostile", env=env)
    assert done.stdout.rstrip("\n").isprintable()
    assert json.loads(done.stdout) == {hostile: hostile}


def test_an_ascii_terminal_gets_valid_json_too(env: dict[str, str]) -> None:
    done = run("call", "echo", "a=日本", env={**env, "PYTHONIOENCODING": "ascii"})
    assert json.loads(done.stdout) == {"a": "日本"}
    assert done.stdout.isascii()


# -- failures -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("call", "x", "{bad"), "not valid JSON"),
        (("call", "x", '{"a": NaN}'), "not valid JSON"),
        (("call", "x", "[1]"), "not a JSON object"),
        (("call", "x", "-"), "stdin is not valid JSON"),
        (("call", "x", "word"), "not KEY=VALUE"),
        (("call", "x", "a=1", "a=2"), "given twice"),
        (("call", "x", "n=123456789012345678901234567890"), "more than 64 bits"),
        (("call", ""), "method must be"),
        (("call",), "METHOD"),
        (("call", "x", "--frob"), "--frob"),
        (("call", "x", "--timeout", "0"), "--timeout"),
        (("call", "x", "--token", ""), "token"),
        (("call", "x", "--token", "a", "--token-file", "b"), "exclude each other"),
        (("call", "x", "--token-file", "/nonexistent/token"), "cannot be read"),
        (("call", "x", "--password", "a", "--password-file", "b"), "exclude each other"),
        (("call", "x", "--password-file", "/nonexistent/password"), "--password-file"),
        (("call", "x", "--address-family", "ipv5"), "--address-family"),
        (("frob",), "frob"),
        (("watch", "--count", "0"), "--count"),
    ],
)
def test_usage_errors_exit_2(env: dict[str, str], arguments: tuple[str, ...], word: str) -> None:
    assert_says(run(*arguments, env=env), 2, word)


def test_an_https_url_is_answered_with_the_right_one() -> None:
    done = run("call", "health", "--url", "https://box.tailnet.ts.net", env={})
    assert_says(done, 2, "write wss://box.tailnet.ts.net")


def test_a_bad_variable_is_a_usage_error(env: dict[str, str]) -> None:
    done = run("call", "health", env={**env, "GWSYNC_REQUEST_TIMEOUT": "soon"})
    assert_says(done, 2, "GWSYNC_REQUEST_TIMEOUT")


def test_a_closed_port_exits_3(env: dict[str, str]) -> None:
    done = run("call", "health", env={**env, "GWSYNC_URL": refused_port()})
    assert_says(done, 3, "connection refused")


def test_a_gateway_that_never_gets_ready_exits_3(
    gateway: LocalGateway, env: dict[str, str]
) -> None:
    gateway.set_phase("starting")
    assert_says(run("call", "health", "--timeout", "0.5", env=env), 3, "no ")


def test_a_wrong_token_exits_4(env: dict[str, str]) -> None:
    done = run("call", "health", env={**env, "GWSYNC_TOKEN": "wrong-secret"})
    assert_says(done, 4, "the gateway refused", "gateway.auth.token")
    assert "wrong-secret" not in done.stderr


def test_a_missing_token_exits_4_and_says_where_to_put_it(env: dict[str, str]) -> None:
    del env["GWSYNC_TOKEN"]
    assert_says(run("call", "health", env=env), 4, "--token-file", "GWSYNC_TOKEN")


def test_the_token_of_the_environment_is_not_sent_to_another_url_and_that_is_said(
    gateway: LocalGateway, env: dict[str, str]
) -> None:
    elsewhere = {**env, "GWSYNC_URL": "ws://127.0.0.1:1"}
    done = run("call", "health", "--url", gateway.url, env=elsewhere)
    assert_says(done, 4, "--token-file", "GWSYNC_TOKEN is kept for GWSYNC_URL")


def test_an_unpaired_device_exits_4_with_the_command_that_approves_it(tmp_path: Path) -> None:
    with LocalGateway(auto_pair=False) as local:
        env = {
            "GWSYNC_URL": local.url,
            "GWSYNC_TOKEN": local.token,
            "GWSYNC_STATE_DIR": str(tmp_path),
        }
        assert_says(run("call", "health", env=env), 4, "openclaw devices approve ")


def test_a_scope_that_is_missing_is_asked_for(env: dict[str, str]) -> None:
    refused = run("call", "exec.approval.list", env=env)
    assert_says(refused, 1, "missing scope: operator.approvals")
    done = run("call", "--scope", "operator.approvals", "exec.approval.list", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    own = {**env, "GWSYNC_SCOPES": "operator.talk"}
    refused = run("call", "exec.approval.list", env=own)
    assert_says(refused, 1, "GWSYNC_SCOPES=operator.talk,operator.approvals")


def test_an_unknown_method_exits_1_and_the_hint_names_a_near_one(env: dict[str, str]) -> None:
    done = run("call", "healht", env=env)
    assert_says(done, 1, "healht: ", "did you mean health", "GWSYNC_SCOPES=operator.read,")


@pytest.mark.wrong_params
def test_wrong_parameters_exit_1(env: dict[str, str]) -> None:
    assert_says(run("call", "sessions.list", "limit=many", env=env), 1, "INVALID_REQUEST")


def test_no_answer_in_time_exits_1_since_it_may_have_run(
    gateway: LocalGateway, env: dict[str, str]
) -> None:
    gateway.hold("echo")
    assert_says(run("call", "echo", "--timeout", "0.5", env=env), 1, "not answered", "may have run")


def test_a_link_lost_before_the_answer_exits_1(gateway: LocalGateway, env: dict[str, str]) -> None:
    gateway.hold("echo")
    with Running(["call", "echo"], env) as running:
        gateway.wait_requests("echo", timeout=LIMIT_S)
        gateway.drop()
        code, said = running.end()
    assert code == 1
    assert "may have run" in said


# -- -v and -vv ---------------------------------------------------------------------------
def test_v_shows_the_stages_on_stderr_and_leaves_stdout_alone(env: dict[str, str]) -> None:
    done = run("call", "health", "-v", env=env)
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True
    for stage in ("resolve", "tcp", "upgrade", "handshake"):
        assert f"gwsync.dial: {stage}: " in done.stderr


def test_v_shows_the_trace_of_what_failed(env: dict[str, str]) -> None:
    done = run("call", "health", "-v", env={**env, "GWSYNC_URL": refused_port()})
    assert done.returncode == 3
    assert "\n  tcp       FAILED " in done.stderr


@pytest.mark.parametrize("good", [True, False])
def test_no_secret_is_shown_even_with_vv(
    gateway: LocalGateway, env: dict[str, str], tmp_path: Path, good: bool
) -> None:
    secret = gateway.token if good else "a-wrong-and-secret-token"
    file = tmp_path / "token"
    file.write_text(secret)
    for arguments in (
        ("call", "status", "-vv"),
        ("call", "status", "-vv", "--url", gateway.url, "--token", secret),
        ("watch", "-vv", "--url", gateway.url, "--token-file", str(file), "--count", "1"),
    ):
        with Running(arguments, {**env, "GWSYNC_TOKEN": secret}) as running:
            if arguments[0] == "watch" and good:
                seen = running.line("snapshot")
                gateway.push("tick")
            else:
                seen = ""
            seen += running.stdout.read()
            code, said = running.end()
        assert code == (0 if good else 4)
        assert "gwsync.dial: " in said
        assert secret not in seen + said


# -- Ctrl-C and pipes ---------------------------------------------------------------------
def test_ctrl_c_while_it_waits_for_the_answer(gateway: LocalGateway, env: dict[str, str]) -> None:
    gateway.hold("echo")
    with Running(["call", "echo"], env) as running:
        gateway.wait_requests("echo", timeout=LIMIT_S)
        running.interrupt()
        assert running.end() == (130, "")
    gateway.wait_connections(open=0)


def test_ctrl_c_while_it_connects(env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(LIMIT_S)
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        with Running(["call", "echo"], {**env, "GWSYNC_URL": url}) as running:
            client, _ = silent.accept()
            client.recv(1)  # the upgrade is under way
            running.interrupt()
            assert running.end() == (130, "")
        client.close()


def test_nobody_reads_the_answer(gateway: LocalGateway, env: dict[str, str]) -> None:
    gateway.on_method("long", lambda params: "x" * 300_000)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gwsync", "call", "long"],
            env=environment(**env),
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=LIMIT_S,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
