"""Secrets that are easily found again, and where to look for them.

A test uses these credentials; :class:`Outputs` collects all that gwsync shows of it, in
every way in which objects are put in front of somebody, and finds each of the secrets,
also where it was encoded first.
"""

from __future__ import annotations

import base64
import json
import logging
import pickle
import traceback
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

import gwsync

# With what base64 and URLs spell in another way; 3 n letters long, so that the base64 of
# something around it holds it as a whole in one of three shifts.
TOKEN = "c4n4ry-t0k3n/+=" + "tT" * 9
PASSWORD = "c4n4ry-p4ss/+=w0rd" + "pP" * 9
DEVICE_TOKEN = "c4n4ry-d3v1c3/+=" + "dD" * 10
SECRETS = (TOKEN, PASSWORD, DEVICE_TOKEN)
OF_OTHER_TESTS = ("canary-token",)

_OURS = str(Path(gwsync.__file__).parent)


def spellings(secret: str | bytes) -> set[str]:
    """The secret as it may be found: itself, in JSON, in URLs, in base64 of any alignment."""
    raw = secret.encode() if isinstance(secret, str) else secret
    found = {raw.hex(), urllib.parse.quote(raw, safe=""), urllib.parse.quote(raw)}
    if isinstance(secret, str):
        found |= {secret, json.dumps(secret)[1:-1], urllib.parse.quote_plus(secret)}
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The letters at both ends depend on what is beside the secret.
            text = encode(b"\0" * shift + raw).decode().rstrip("=")
            found.add(text[4 if shift else 0 : len(text) - 1])
    return found


def stored_secrets(state_dir: str | Path) -> list[str | bytes]:
    """What must not be shown of a state directory: the private key, the issued tokens."""
    found: list[str | bytes] = []
    for path in Path(state_dir).glob("*.json"):
        held = json.loads(path.read_text())
        if "privateKey" in held:
            found += [held["privateKey"], base64.b64decode(held["privateKey"])]
        else:
            found += [entry["token"] for entry in held.values() if "token" in entry]
    return found


class Outputs:
    """Text that somebody may see, by where it was shown."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def add(self, where: str, text: str | bytes) -> None:
        self.texts.append((where, text if isinstance(text, str) else text.decode("latin-1")))

    def add_object(self, value: Any) -> None:
        """``value`` in a log, a console, a debugger, a notebook; errors with their traceback."""
        kind = type(value).__name__
        self.add(f"repr of {kind}", repr(value))
        self.add(f"str of {kind}", f"{value} {value!s:>3}")
        for name in ("_repr_html_", "_repr_pretty_", "_repr_mimebundle_", "_repr_markdown_"):
            show = getattr(value, name, None)
            if show is not None:
                self.add(f"{name} of {kind}", repr(show()))
        if not isinstance(value, gwsync.Config):  # whose fields are the secrets themselves
            self.add(f"vars of {kind}", repr(getattr(value, "__dict__", "")))
        if isinstance(value, BaseException):
            self._add_error(value)

    def _add_error(self, error: BaseException) -> None:
        kind = type(error).__name__
        self.add(f"args of {kind}", repr(error.args))
        dumped = pickle.dumps(error)
        self.add(f"pickle of {kind}", dumped)
        self.add(f"pickled {kind}", repr(vars(pickle.loads(dumped))))
        seen: set[int] = set()
        one: BaseException | None = error
        while one is not None and id(one) not in seen:
            seen.add(id(one))
            told = traceback.TracebackException.from_exception(one)
            self.add(f"traceback of {kind}", "".join(told.format()))
            self.add(f"locals of {kind}", locals_of(one.__traceback__))
            one = one.__cause__ or one.__context__

    def add_log(self, records: Iterable[logging.LogRecord]) -> None:
        """Log records as formatted, and what their arguments would show of themselves.

        Not those of LocalGateway: the other side may know.
        """
        for record in records:
            if not record.name.startswith("gwsync.testing"):
                self.add(f"log of {record.name}", f"{record.getMessage()} {record.args!r}")

    def found(self, secrets: Iterable[str | bytes]) -> list[str]:
        """Where one of the secrets is shown; empty if all is well."""
        wanted = {spelling for secret in secrets for spelling in spellings(secret)}
        return [where for where, text in self.texts if any(one in text for one in wanted)]


def locals_of(tb: TracebackType | None) -> str:
    """The local variables of gwsync's own frames, as ``capture_locals=True`` prints them.

    A test's own frames hold the secrets on purpose.
    """
    summary = traceback.StackSummary.extract(traceback.walk_tb(tb), capture_locals=True)
    ours = [frame for frame in summary if frame.filename.startswith(_OURS)]
    return repr([frame.locals for frame in ours])


class _Keeper(logging.Handler):
    """Keeps what a log line shows, and nothing else: tests of floods log a lot."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: set[str] = set()
        self.lines = 0
        self._wanted = {one for secret in (*SECRETS, *OF_OTHER_TESTS) for one in spellings(secret)}

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("gwsync.testing"):  # the other side may know
            return
        self.lines += 1
        text = f"{record.getMessage()} {record.args!r} {record.exc_info!r}"
        if any(one in text for one in self._wanted):
            self.found.add(f"{record.name}: {record.msg}")


@pytest.fixture(autouse=True)
def no_secret_is_logged() -> Iterator[None]:
    """Every test here runs at DEBUG, and none of its log lines may show a canary."""
    logger, keeper = logging.getLogger("gwsync"), _Keeper()
    before = logger.level
    logger.addHandler(keeper)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(keeper)
        logger.setLevel(before)
    assert keeper.found == set()
