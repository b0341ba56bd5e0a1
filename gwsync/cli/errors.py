"""Every error as an exit code, one sentence and the next step, in the shell's words.

The library's hints are written for Python ("pass token=..."); who is at a shell
needs the option or the variable instead.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import click

from .. import errors as lib
from ..config import DEFAULT_SCOPES
from ..values import Trace
from .output import OutputError

OK, REFUSED, USAGE, NO_CONNECTION, CREDENTIALS = 0, 1, 2, 3, 4
INTERNAL = 70  # EX_SOFTWARE
INTERRUPTED = 130

# The first class that fits decides.
_CODES: tuple[tuple[type[lib.GatewayError], int], ...] = (
    (lib.ConfigError, USAGE),
    (lib.DialError, NO_CONNECTION),
    (lib.AuthError, CREDENTIALS),
    (lib.PairingRequired, CREDENTIALS),
    (lib.ScopeError, CREDENTIALS),
    (lib.HandshakeError, NO_CONNECTION),
)
# For errors that bring no hint of their own.
_NEXT_STEPS: tuple[tuple[type[lib.GatewayError], str], ...] = (
    (lib.ConfigError, "see gwsync --help"),
    (lib.RunError, "gwsync call logs.tail shows the gateway's log"),
    (lib.RequestError, "check the method's name and its parameters"),
    (lib.PayloadTooLarge, "send less in one request"),
    (lib.ProtocolError, "is this an OpenClaw gateway, and a release that gwsync knows?"),
    (lib.ConnectionLost, "it may help to try again; -v shows the stages of connecting"),
    (lib.DialError, "-v shows the stages of connecting"),
    (lib.HandshakeError, "-v shows the stages of connecting"),
)
_CREDENTIALS_CHANGED = 4001  # the close code with which the gateway says so
_IN_SHELL = (
    (r"\bpass token=\.\.\.", "give --token-file FILE"),
    (r"\bpass password=\.\.\.", "give --password-file FILE"),
    (r", or pass allow_network=True", ""),
    (r"\bor password=\.\.\.", "or --password-file FILE"),
    (r"\ba watch hears\b", "gwsync approvals --watch shows"),
    (r"\bresolve\(\) answers it by its whole id", "resolve takes its whole ID"),
    (r"\ballow_plaintext=True\b", "--allow-plaintext"),
    (r"\bpass ca_file=\.\.\.", "set GWSYNC_CA_FILE to a file"),
    (r"\bset address_family='any'", "give --address-family any"),
    (r"\bset tls_fingerprint\b", "set GWSYNC_TLS_FINGERPRINT"),
    (r"\bstate_dir\b", "GWSYNC_STATE_DIR"),
)


@dataclass(frozen=True)
class Failure:
    """What to tell the user."""

    code: int
    message: str
    hint: str = ""
    trace: Trace | None = None


def explain(error: Exception, *, explicit_url: bool = False) -> Failure:
    """``error`` in a user's words. ``explicit_url``: ``--url`` was given."""
    if isinstance(error, lib.GatewayError):
        return Failure(
            exit_code(error), _message(error), _hint(error, explicit_url), trace_of(error)
        )
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "gwsync"
        return Failure(USAGE, error.format_message(), f"see {path} --help")
    if isinstance(error, OutputError):
        return Failure(REFUSED, str(error))
    return Failure(
        INTERNAL,
        f"this is a bug in gwsync: {type(error).__name__}: {error}",
        "run it again with -vv and report what it shows",
    )


def exit_code(error: lib.GatewayError) -> int:
    """The exit code that ``error`` ends the process with."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, lib.ConnectionLost) and error.close_code == _CREDENTIALS_CHANGED:
        return CREDENTIALS
    timed_out = isinstance(error, lib.RequestTimeout)
    return NO_CONNECTION if timed_out and error.outcome == "not_sent" else REFUSED


def _message(error: lib.GatewayError) -> str:
    if isinstance(error, lib.RequestError):
        return f"{error.method}: {error.message} [{error.code}]"
    return error.message


def _hint(error: lib.GatewayError, explicit_url: bool) -> str:
    hint = in_shell(error.hint, explicit_url)
    if isinstance(error, lib.RequestTimeout):
        if error.outcome == "not_sent":
            return hint or "is the gateway up? -v shows where the time went"
        return "it may have run: look before you repeat it; --timeout waits longer"
    return hint or next((step for kind, step in _NEXT_STEPS if isinstance(error, kind)), "")


def in_shell(hint: str, explicit_url: bool = False) -> str:
    """A hint of the library in the words of the command line."""
    for python, shell in _IN_SHELL:
        hint = re.sub(python, shell, hint)
    hint = re.sub(r"\bask for it: scopes=\(\.\.\., '([\w.]+)'\)", _with_scope, hint)
    if explicit_url and os.environ.get("GWSYNC_URL"):
        # Config.discover: a credential that stands beside a URL is for that URL alone.
        hint = re.sub(
            r" or set (GWSYNC_\w+)", r" (\1 is kept for GWSYNC_URL, and not sent to --url)", hint
        )
    return hint


def _with_scope(found: re.Match[str]) -> str:
    """Beside those that are asked for now, also where the environment says which."""
    given = os.environ.get("GWSYNC_SCOPES") or ",".join(DEFAULT_SCOPES)
    asked = [one.strip() for one in given.split(",") if one.strip()]
    return f"ask for it: GWSYNC_SCOPES={','.join(dict.fromkeys((*asked, found[1])))}"


def trace_of(error: BaseException) -> Trace | None:
    """The stages of the attempt that failed, also of the one behind a timeout."""
    trace = getattr(error, "trace", None)
    if isinstance(trace, Trace):
        return trace
    return trace_of(error.__cause__) if error.__cause__ is not None else None
