"""What the cases wait and count with. Waits are conditions with a limit, never sleeps."""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

_SLACK = 3 if os.environ.get("CI") == "true" else 1

T = TypeVar("T")
P = TypeVar("P", bound="Program")

WAIT_S = 30.0
POLL_S = 0.01


def eventually(condition: Callable[[], T], what: str, timeout: float = WAIT_S) -> T:
    """The first true value of ``condition``; a failure names ``what`` it waited for."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(POLL_S)


class Log:
    """A callback that keeps every push, in order, and lets a test wait for one."""

    def __init__(self) -> None:
        self.pushes: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, push: Any) -> None:
        with self._changed:
            self.pushes.append(push)
            self._changed.notify_all()

    def wait(
        self,
        condition: Callable[[Any], bool],
        what: str,
        *,
        after: int = -1,
        timeout: float = WAIT_S,
    ) -> int:
        """The index of the first push beyond ``after`` that ``condition`` likes."""
        end = time.monotonic() + timeout
        start = after + 1
        with self._changed:
            while True:
                for index in range(start, len(self.pushes)):
                    if condition(self.pushes[index]):
                        return index
                start = len(self.pushes)
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not within {timeout:g} s: {what}; got {self.pushes}")
                self._changed.wait(left)


class Threads:
    """Runs one function in many threads that set off together; gathers what came of it."""

    def __init__(self, count: int, work: Callable[[int], Any]) -> None:
        self.results: list[Any] = []
        self.errors: list[BaseException] = []
        self._barrier = threading.Barrier(count)
        self._work = work
        self._threads = [
            threading.Thread(target=self._run, args=(index,), daemon=True) for index in range(count)
        ]

    def run(self, timeout: float = 120.0) -> Threads:
        """Start them all and wait for the last one."""
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        stuck = sum(thread.is_alive() for thread in self._threads)
        assert not stuck, f"{stuck} of {len(self._threads)} threads hang after {timeout:g} s"
        return self

    def _run(self, index: int) -> None:
        try:
            self._barrier.wait(WAIT_S)
            self.results.append(self._work(index))
        except BaseException as error:
            self.errors.append(error)


class InThread:
    """A call in a thread of its own, while the test does something else."""

    def __init__(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        self._outcome: list[Any] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(function, args, options), daemon=True
        )
        self._thread.start()

    def _run(self, function: Callable[..., Any], args: Any, options: Any) -> None:
        try:
            self._outcome.append(function(*args, **options))
        except BaseException as error:
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self, timeout: float = WAIT_S) -> Any:
        """What it returned; raises what it raised."""
        self._thread.join(timeout)
        assert not self.running, f"it still waits after {timeout:g} s"
        if self._error is not None:
            raise self._error
        return self._outcome[0]


class Counter:
    """A TCP forwarder in front of a gateway: counts connections whoever claims what."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._closing, self._closed = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="counter", daemon=True)
        self.accepted = 0
        self.open = 0

    @property
    def url(self) -> str:
        """The gateway, by way of here."""
        return f"ws://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Counter:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._closed)
        self._thread.join(WAIT_S)
        os.close(self._closing)

    def _serve(self) -> None:
        with contextlib.ExitStack() as owned, selectors.DefaultSelector() as ready:
            owned.enter_context(self._listener)
            ready.register(self._closing, selectors.EVENT_READ)
            ready.register(self._listener, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    if key.fileobj == self._closing:
                        for other in list(ready.get_map().values()):
                            if isinstance(other.fileobj, socket.socket):
                                other.fileobj.close()
                        return
                    if key.fileobj is self._listener:
                        self._accept(ready)
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj.fileno() >= 0:
                        # not one that its other end took along, a moment ago in this same round
                        self._forward(ready, key.fileobj, key.data)

    def _accept(self, ready: selectors.BaseSelector) -> None:
        near, _ = self._listener.accept()
        self.accepted += 1
        try:
            far = socket.create_connection(self._upstream, timeout=WAIT_S)
        except OSError:
            near.close()
            return
        self.open += 1
        for one, other in ((near, far), (far, near)):
            one.settimeout(WAIT_S)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(one, selectors.EVENT_READ, other)

    def _forward(
        self, ready: selectors.BaseSelector, one: socket.socket, other: socket.socket
    ) -> None:
        try:
            data = one.recv(65536)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self.open -= 1
            for end in (one, other):
                ready.unregister(end)
                end.close()


class Program:
    """A program of its own, of which the test reads every line."""

    def __init__(self, command: Sequence[str | Path], env: Mapping[str, str], **more: Any) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **more,
        )
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in (
                (self._process.stdout, self.lines.put),
                (self._process.stderr, self._errors.append),
            )
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self: P) -> P:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._finish(WAIT_S)

    def expect(self, line: str, timeout: float = WAIT_S) -> None:
        """Read its output up to this line."""
        self.read_until(line.__eq__, f"no line {line!r}", timeout)

    def read_until(
        self, condition: Callable[[str], bool], what: str, timeout: float = WAIT_S
    ) -> str:
        """Read its output up to a line that ``condition`` likes; that line."""
        end = time.monotonic() + timeout
        seen: list[str] = []
        while not seen or not condition(seen[-1]):
            try:
                seen.append(self.lines.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError(
                    f"{what} within {timeout:g} s; it said {seen}, "
                    f"on stderr: {''.join(self._errors)}"
                ) from None
        return seen[-1]

    @property
    def pid(self) -> int:
        return self._process.pid

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.send(signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Have it stand still until :meth:`go_on`; returns when it does."""
        self._process.send_signal(signal.SIGSTOP)
        eventually(lambda: self._state() == "T", "the program stands still")

    def go_on(self) -> None:
        """Let a stopped program run again."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._process.kill()
        self._process.wait(WAIT_S)

    def _state(self) -> str:
        """One letter, as ps shows it."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0]

    def end(self, timeout: float = WAIT_S) -> tuple[int, str]:
        """Its exit code and standard error once it has ended by itself."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"it still runs after {timeout:g} s; on stderr: {''.join(self._errors)}"
            ) from None
        self._finish(timeout)
        return code, "".join(self._errors)

    def _finish(self, timeout: float) -> None:
        self._process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    @staticmethod
    def _read(stream: Any, put: Callable[[str], None]) -> None:
        for line in stream:
            put(line.rstrip("\n") if put.__name__ == "put" else line)


class Script(Program):
    """A Python program, told of the gateway through the environment."""

    def __init__(self, source: str, env: Mapping[str, str]) -> None:
        super().__init__([sys.executable, "-u", "-c", source], {**os.environ, **env})


def generous(limit: float) -> float:
    """A time limit, in seconds of a machine that has nothing else to do, as a bound for here."""
    return limit * _SLACK


@contextlib.contextmanager
def elapsed_below(limit: float, what: str) -> Iterator[None]:
    """Fail when the block takes longer, in seconds of a machine that has nothing else to do.

    These bounds tell "at once" from "when a timeout ended it", so where several suites share
    two cores they may be wider; benchmarks measure speed.
    """
    limit = generous(limit)
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < limit, f"{what} took {took:.2f} s, more than {limit:g} s"
