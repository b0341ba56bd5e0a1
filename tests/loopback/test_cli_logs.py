"""``gwsync logs``: lines once each, over restarts, rotations and lost links; and completion."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwsync.api.log_tail import parse
from gwsync.testing import LocalGateway
from loopback.cli_support import Running, environment, run, run_on_terminal


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as local:
        yield local


@pytest.fixture
def env(gateway: LocalGateway, tmp_path: Path) -> dict[str, str]:
    return {
        "GWSYNC_URL": gateway.url,
        "GWSYNC_TOKEN": gateway.token,
        "GWSYNC_STATE_DIR": str(tmp_path / "state"),
    }


def test_the_last_lines(gateway: LocalGateway, env: dict[str, str]) -> None:
    for number in range(30):
        gateway.log(f"line {number}")
    said = run("logs", "-n", "3", env=env).stdout.splitlines()
    assert [line.split()[1:] for line in said] == [
        ["info", "gateway", "line", str(number)] for number in (27, 28, 29)
    ]
    (row,) = run("logs", "-n", "1", "--json", env=env).stdout.splitlines()
    assert json.loads(row)["message"] == "line 29"
    assert run("logs", "-n", "0", env=env).stdout == ""


def test_what_is_in_a_log_is_safe_to_print(gateway: LocalGateway, env: dict[str, str]) -> None:
    gateway.log("red \x1b[31m " + "long " * 40, level="ERROR")
    code, seen = run_on_terminal("logs", env=env, columns=80)
    assert code == 0
    assert "\x1b" not in seen
    assert max(map(len, seen.splitlines())) <= 80


def test_follow_repeats_nothing_and_misses_nothing(
    gateway: LocalGateway, env: dict[str, str]
) -> None:
    gateway.log("before")
    with Running(["logs", "--follow"], env) as running:
        assert running.line().endswith("before")
        gateway.log("one")
        assert running.line().endswith("one")
        gateway.restart(100, wait=False)
        gateway.log("while it is away")
        assert running.line().endswith("while it is away")
        gateway.drop()
        gateway.log("after")
        assert running.line().endswith("after")
        gateway.rotate_log()
        gateway.log("x")
        assert "begins anew" in running.note("begins anew")
        assert running.line().endswith("x")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("plain", "plain"),
        ("[1]", "[1]"),
        ('{"1":"words"}', "words"),
        ('{"message":3,"_meta":7}', '{"message":3,"_meta":7}'),
    ],
)
def test_lines_of_any_form(line: str, message: str) -> None:
    assert parse(line).message == message


# -- completion -------------------------------------------------------------------------------


def test_completion_needs_to_know_the_shell(env: dict[str, str]) -> None:
    assert run("completion", env={**env, "SHELL": "/bin/tcsh"}).returncode == 2
    assert "_GWSYNC_COMPLETE" in run("completion", env={**env, "SHELL": "/bin/zsh"}).stdout


ASK = {
    "bash": 'eval "$(gwsync completion bash)"; COMP_WORDS=(gwsync {0}); COMP_CWORD=1;'
    ' _gwsync_completion gwsync; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "zsh": 'autoload -Uz compinit; compinit -u; eval "$(gwsync completion zsh)";'
    ' compadd() {{ print -l -- "$@" "${{completions[@]}}"; }}; _describe() {{'
    ' print -l -- "${{completions_with_descriptions[@]}}"; }}; words=(gwsync {0}); CURRENT=2;'
    " _gwsync_completion",
    "fish": "gwsync completion fish | source; complete -C 'gwsync {0}'",
}


@pytest.mark.parametrize("shell", ASK)
def test_the_shell_completes_commands(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "gwsync").write_text(f'#!/bin/sh\nexec {sys.executable} -m gwsync "$@"\n')
    (tmp_path / "gwsync").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *flags, "-c", ASK[shell].format("ses")],
        env=environment(PATH=path, HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "sessions" in done.stdout, done.stderr
    assert "doctor" not in done.stdout
