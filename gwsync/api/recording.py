"""What a connection says and hears, as lines of JSON in a file, without a secret.

One frame a line: ``t`` (seconds since the first dial), ``dir`` (``info``, ``out``, ``in``,
``close``) and ``frame``. For bug reports, and for ``LocalGateway.replay``. Masked before it is
written: credentials never touch the disk. What people and agents said does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from ..config import Config
from ..errors import ConfigError, ConnectionLost, ProtocolError
from ..runtime.hub import HubThread
from ..transport.deadline import Deadline
from ..transport.dial import Dial
from ..transport.dial import dial as usual_dial
from ..transport.link import Link
from ..transport.trace import Tracer
from ..values import decode_json

# Names of values that are secret, whoever sends them, in any frame.
_SECRET = re.compile(
    r"(token|passw|secret|api_?key|signature|recoveryscope|authorization|credential|cookie"
    r"|private_?key|bootstrap|setupcode)",
    re.I,
)
# Secrets that show by their looks, in whatever text.
_LOOKS = re.compile(
    r"(?:sk|pk|ghp|gho|ghs|xox[abp])[-_][A-Za-z0-9_-]{16,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"
    r"|(?<=[Bb]earer )[\w.~+/=-]{8,}"
    r"|(?<=/cap/)[\w-]{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
_SHORTEST = 6  # shorter values are masked by name only: they would be found in any text


class Masker:
    """Takes secrets out of frames, and remembers each, so that it is masked anywhere else."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def frame(self, value: Any) -> Any:
        """The same, masked: by name, then by value and by looks."""
        return self._everywhere(self._by_name(value))

    def text(self, text: str) -> str:
        for secret in sorted(self._known, key=len, reverse=True):
            if secret in text:
                text = text.replace(secret, _mark(secret))
        return _LOOKS.sub(lambda found: _mark(found[0]), text)

    def learn(self, *secrets: str | None) -> None:
        """Mask these wherever they show up from now on."""
        self._known.update(one for one in secrets if one and len(one) >= _SHORTEST)

    def _by_name(self, value: Any, secret: bool = False) -> Any:
        if isinstance(value, Mapping):  # which of its values are secret is said by their names
            return {
                key: self._by_name(inner, _SECRET.search(key) is not None)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self._by_name(inner, secret) for inner in value]
        if secret and isinstance(value, str) and value:
            self.learn(value)
            return _mark(value)
        return value

    def _everywhere(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {self.text(key): self._everywhere(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._everywhere(inner) for inner in value]
        return self.text(value) if isinstance(value, str) else value


def _mark(secret: str) -> str:
    return f"<redacted:{len(secret)} chars>"


class Recorder:
    """A file that a connection is recorded in::

        with Recorder("bug.jsonl") as recorder:
            with gwsync.Connection(config, dial=recorder.dial) as connection: ...

    The file must not be there yet, and is for its owner only. ``frames``: how many so far.
    """

    def __init__(self, path: str | os.PathLike[str], *, dial: Dial = usual_dial) -> None:
        self.path = Path(path)
        self.frames = 0
        self.error: OSError | None = None  # why nothing more is written
        self._masker = Masker()
        self._usual_dial = dial
        self._began = time.monotonic()
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigError(f"{path} is there already", hint="give another name") from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def dial(self, config: Config, hub: HubThread, deadline: Deadline, tracer: Tracer) -> Link:
        """As the usual one; what goes over the link is recorded. For ``Connection(dial=...)``."""
        link = self._usual_dial(config, hub, deadline, tracer)
        link.writer.direct = False  # what callers wrote by themselves would not be seen here
        self._masker.learn(config.token, config.password, config.device_token)
        self._write("info", self._masker.frame({"opened": str(config.endpoint)}))
        wrapped: object = _RecordedLink(link, self._frame)
        return cast("Link", wrapped)

    def close(self) -> None:
        """No further line is written. Idempotent."""
        self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _frame(self, way: str, data: Any) -> None:
        if isinstance(data, (bytes, bytearray, memoryview)):
            try:
                data = decode_json(bytes(data), "a frame")
            except (ProtocolError, ConfigError):
                data = {"undecodable": len(bytes(data))}
        if way != "close":
            self.frames += 1
        self._write(way, self._masker.frame(data))

    def _write(self, way: str, frame: Any) -> None:
        if self._file.closed:
            return
        row = {"t": round(time.monotonic() - self._began, 4), "dir": way, "frame": frame}
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()  # a bug report is wanted most from a program that dies
        except OSError as error:  # a full disk must not end the connection
            self.error = error
            with contextlib.suppress(OSError):
                self._file.close()


class _RecordedLink:
    """A link, of which each message is told on its way; all else is the link's."""

    def __init__(self, link: Link, tell: Callable[[str, Any], None]) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_tell", tell)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._link, name, value)

    def receive(self) -> list[bytes]:
        try:
            frames: list[bytes] = self._link.receive()
        except ConnectionLost as error:
            self._tell("close", {"code": error.close_code, "reason": error.reason})
            raise
        for frame in frames:
            self._tell("in", frame)
        return frames

    def send(self, message: bytes, parcel: Any = None) -> None:
        self._tell("out", message)
        self._link.send(message, parcel)
