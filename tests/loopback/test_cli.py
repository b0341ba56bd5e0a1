"""The command line as a whole: help, exit codes, and what may reach a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gwsync import errors as lib
from gwsync.cli import errors
from loopback.cli_support import environment, run

TIMED_OUT = lib.RequestTimeout("late", method="health", outcome="not_sent")
UNANSWERED = lib.RequestTimeout("late", method="health", outcome="maybe")


@pytest.mark.parametrize(
    "command", [(), ("call",), ("watch",), ("demo",), ("status",), ("gateway",)]
)
def test_help_fits_80_columns_and_shows_examples(command: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*command, "--help", env={})
    assert done.returncode == 0
    assert "gwsync " + (command[0] if command else "call") in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stderr == ""


def test_version() -> None:
    import gwsync

    assert run("--version", env={}).stdout == f"gwsync {gwsync.__version__}\n"


def test_without_a_command_it_shows_the_help_and_says_that_this_was_not_enough() -> None:
    done = run(env={})
    assert done.returncode == errors.USAGE
    assert "Commands:" in done.stdout


def test_help_does_not_load_the_test_gateway() -> None:
    script = (
        "import sys\n"
        "from gwsync.cli.app import run\n"
        "run(['--help'])\n"
        "loaded = [name for name in sys.modules if 'websockets' in name or '.testing' in name]\n"
        "sys.exit(repr(loaded) if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (lib.ConfigError("x"), 2),
        (lib.ResolveError("x"), 3),
        (lib.TcpError("x"), 3),
        (lib.TlsError("x"), 3),
        (lib.UpgradeError("x"), 3),
        (lib.DialTimeout("x"), 3),
        (lib.HandshakeError("x"), 3),
        (lib.ProtocolMismatch("x"), 3),
        (lib.AuthError("x"), 4),
        (lib.PairingRequired("x"), 4),
        (lib.ScopeError("x"), 4),
        (lib.RequestError("x", method="m", code="C"), 1),
        (lib.MissingScope("x", method="m", code="C"), 1),
        (TIMED_OUT, 3),
        (UNANSWERED, 1),
        (lib.ConnectionLost("x", outcome="maybe"), 1),
        (lib.ConnectionLost("x", close_code=4001), 4),
        (lib.ProtocolError("x"), 1),
        (lib.ConnectionClosed("x"), 1),
        (lib.PayloadTooLarge("x", size=2, limit=1), 1),
        (click.UsageError("x"), 2),
        (ZeroDivisionError("x"), 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert errors.explain(error).code == code


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        (
            "write wss://a, or allow_plaintext=True if you are sure",
            "write wss://a, or --allow-plaintext if you are sure",
        ),
        (
            "ask for it: scopes=(..., 'operator.admin')",
            "ask for it: GWSYNC_SCOPES=operator.read,operator.write,operator.admin",
        ),
        (
            "pass token=... or password=... instead",
            "give --token-file FILE or --password-file FILE instead",
        ),
        ("pass token=... or set GWSYNC_TOKEN", "give --token-file FILE or set GWSYNC_TOKEN"),
        (
            "pass password=... or set GWSYNC_PASSWORD",
            "give --password-file FILE or set GWSYNC_PASSWORD",
        ),
        ("pass ca_file=... with it", "set GWSYNC_CA_FILE to a file with it"),
        ("or set address_family='any'", "or give --address-family any"),
        ("set tls_fingerprint to the new", "set GWSYNC_TLS_FINGERPRINT to the new"),
        (
            "a watch hears what comes from now on, and resolve() answers it by its whole id",
            "gwsync approvals --watch shows what comes from now on, and resolve takes its whole ID",
        ),
        ("make state_dir writable", "make GWSYNC_STATE_DIR writable"),
    ],
)
def test_hints_speak_of_options_and_variables_not_of_python(python: str, shell: str) -> None:
    assert errors.explain(lib.ConfigError("x", hint=python)).hint == shell


def test_an_internal_bug_shows_its_traceback_only_with_vv() -> None:
    script = (
        "import sys\n"
        "from gwsync.cli import app, call\n"
        "call.parse_params = lambda params: 1 / 0\n"
        "sys.exit(app.run(['call', 'health', *sys.argv[1:]]))\n"
    )
    for verbose, shown in (("-v", False), ("-vv", True)):
        done = subprocess.run(
            [sys.executable, "-c", script, verbose],
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 70
        assert ("Traceback" in done.stderr) == shown
        assert "gwsync: this is a bug in gwsync: ZeroDivisionError: division by zero" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_a_full_disk_is_said_and_is_a_failure() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gwsync"],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert done.returncode == errors.REFUSED
    assert done.stderr == "gwsync: the output cannot be written: No space left on device\n"
