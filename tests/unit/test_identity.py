"""The device identity and the token store: private, never half written, one for all processes."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from conformance.tools import eventually
from gwsync import limits, statefile
from gwsync.errors import ConfigError
from gwsync.identity import DEVICE_FILE, TOKENS_FILE, TokenStore, load_identity

posix = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "a" / "state"


def test_it_is_made_once_and_stays(state: Path) -> None:
    first = load_identity(str(state))
    again = load_identity(str(state))
    assert first.id == again.id
    assert first.public_key == again.public_key
    assert len(first.id) == 64
    assert len(first.public_key) == 32
    assert first.sign(b"x") == again.sign(b"x")
    assert os.listdir(state) == [DEVICE_FILE]
    assert first.id[12:] not in repr(first)


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_private_whatever_the_umask(state: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        identity = load_identity(str(state))
        TokenStore(str(state)).put("ws://h", identity.id, "operator", "t", ())
    finally:
        os.umask(before)
    assert mode(state) == 0o700
    for path in state.iterdir():
        assert mode(path) == 0o600


@posix
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o644])
def test_one_that_others_can_read_is_refused(state: Path, bits: int) -> None:
    load_identity(str(state))
    (state / DEVICE_FILE).chmod(bits)
    with pytest.raises(ConfigError, match="read by others") as caught:
        load_identity(str(state))
    assert caught.value.hint == f"chmod 600 {state / DEVICE_FILE}"


@posix
@pytest.mark.parametrize("dangling", [False, True])
def test_a_symbolic_link_is_refused(state: Path, tmp_path: Path, dangling: bool) -> None:
    real = tmp_path / "real.json"
    if not dangling:
        load_identity(str(tmp_path / "other"))
        os.rename(tmp_path / "other" / DEVICE_FILE, real)
    state.mkdir(parents=True, mode=0o700)
    (state / DEVICE_FILE).symlink_to(real)
    with pytest.raises(ConfigError, match="symbolic link"):
        load_identity(str(state))
    assert real.exists() is not dangling


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "5",
        "{}",
        '{"privateKey": 5}',
        '{"privateKey": "AAAA"}',
        '{"privateKey": "!!!!"}',
        '{"privateKey": null}',
    ],
)
def test_a_file_that_is_none_is_refused_and_left_alone(state: Path, text: str) -> None:
    state.mkdir(parents=True, mode=0o700)
    path = state / DEVICE_FILE
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not a device identity"):
        load_identity(str(state))
    assert path.read_text() == text


def test_a_file_that_is_not_text_is_refused(state: Path) -> None:
    state.mkdir(parents=True, mode=0o700)
    (state / DEVICE_FILE).write_bytes(b"\xff\xfe")
    (state / DEVICE_FILE).chmod(0o600)
    with pytest.raises(ConfigError, match="not a device identity"):
        load_identity(str(state))


def test_where_nothing_can_be_kept_there_is_one_for_the_process_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every attempt of a connection asks; a new identity each time would need a new approval."""
    (tmp_path / "file").write_text("in the way")
    state = str(tmp_path / "file" / "state")
    identities = {load_identity(state).id for _ in range(5)}
    assert len(identities) == 1
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert state in warnings[0].getMessage()


RACERS = """
import os, sys
from gwsync.identity import DeviceIdentity, load_identity
DeviceIdentity(bytes(32))  # the slow imports are done before the race
go, start = os.pipe()
done, tell = os.pipe()
for _ in range(40):
    if not os.fork():
        os.close(start)
        os.read(go, 1)  # until the other end is closed for all of them
        os.write(tell, (load_identity(sys.argv[1]).id + "\\n").encode())
        os._exit(0)
os.close(start)
os.close(tell)
with os.fdopen(done) as results:
    print(results.read())
"""


@posix
def test_forty_racing_processes_get_one_identity(state: Path) -> None:
    for turn in range(5):
        directory = state / str(turn)
        done = subprocess.run(
            [sys.executable, "-c", RACERS, str(directory)],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        found = done.stdout.split()
        assert len(found) == 40
        assert len(set(found)) == 1
        assert os.listdir(directory) == [DEVICE_FILE]


def test_racing_threads_get_one_identity(state: Path) -> None:
    found: list[str] = []
    barrier = threading.Barrier(20)

    def race() -> None:
        barrier.wait(10)
        found.append(load_identity(str(state)).id)

    threads = [threading.Thread(target=race) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 20
    assert len(set(found)) == 1


WRITER = """
import os, shutil, sys
from gwsync.identity import TokenStore, load_identity
state, n = sys.argv[1], 0
print("ready", flush=True)
while True:
    n += 1
    TokenStore(state).put("ws://h", "device", "operator", "t" * 5000, (str(n),))
    load_identity(state)
    os.unlink(os.path.join(state, "device.json"))
"""


@posix
def test_kill_9_at_random_moments_leaves_no_half_file(state: Path) -> None:
    dice = random.Random(3)
    load_identity(str(state))
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(state)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(dice.random() * 0.03)
        writer.kill()
        writer.communicate(timeout=10)
        load_identity(str(state))
        token = TokenStore(str(state)).get("ws://h", "device", "operator")
        assert token in (None, "t" * 5000)
        tokens = state / TOKENS_FILE
        if tokens.exists():
            json.loads(tokens.read_text())
        TokenStore(str(state)).put("ws://h", "device", "operator", "t" * 5000, ())  # no stale lock


# -- the token store ----------------------------------------------------------------------------


def test_put_get_clear(state: Path) -> None:
    store = TokenStore(str(state))
    assert store.get("ws://h", "d", "operator") is None
    store.put("ws://h", "d", "operator", "one", ("operator.read",))
    store.put("ws://h", "d", "node", "two", ())
    store.put("ws://other", "d", "operator", "three", ())
    again = TokenStore(str(state))
    assert again.get("ws://h", "d", "operator") == "one"
    assert again.get("ws://h", "d", "node") == "two"
    assert again.get("ws://other", "d", "operator") == "three"
    assert again.get("ws://h", "another", "operator") is None
    store.put("ws://h", "d", "operator", "newer", ("operator.read",))
    again.clear("ws://h", "d", "operator", "one")  # not what is there any more
    assert again.get("ws://h", "d", "operator") == "newer"
    again.clear("ws://h", "d", "operator", "newer")
    assert again.get("ws://h", "d", "operator") is None
    again.clear("ws://h", "d", "operator", "newer")
    assert again.get("ws://h", "d", "node") == "two"


def test_the_scopes_are_kept_beside_the_token(state: Path) -> None:
    TokenStore(str(state)).put("ws://h", "d", "operator", "one", ("operator.read",))
    (entry,) = json.loads((state / TOKENS_FILE).read_text()).values()
    assert entry == {"token": "one", "scopes": ["operator.read"]}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 5}', "5", '{"ws://h|d|operator": []}'])
def test_a_damaged_store_is_an_empty_one(state: Path, text: str) -> None:
    state.mkdir(parents=True, mode=0o700)
    path = state / TOKENS_FILE
    path.write_text(text)
    path.chmod(0o600)
    store = TokenStore(str(state))
    assert store.get("ws://h", "d", "operator") is None
    store.clear("ws://h", "d", "operator", "x")
    store.put("ws://h", "d", "operator", "one", ())
    assert store.get("ws://h", "d", "operator") == "one"


def test_a_store_that_cannot_be_kept_costs_only_the_reuse(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = TokenStore(str(tmp_path / "file" / "state"))
    store.put("ws://h", "d", "operator", "one", ())
    store.clear("ws://h", "d", "operator", "one")
    assert store.get("ws://h", "d", "operator") is None


def test_racing_writers_lose_nothing(state: Path) -> None:
    def write(index: int) -> None:
        for n in range(10):
            TokenStore(str(state)).put(f"ws://{index}-{n}", "d", "operator", "t", ())

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(json.loads((state / TOKENS_FILE).read_text())) == 80


# -- what is read once ---------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, by name; every file counts as settled."""
    monkeypatch.setattr(limits, "STATE_FILE_SETTLED_NS", -(10**18))
    seen: list[str] = []
    real = statefile.read_private

    def read(path: str) -> bytes | None:
        seen.append(os.path.basename(path))
        return real(path)

    monkeypatch.setattr(statefile, "read_private", read)
    return seen


def test_a_key_is_read_and_loaded_once_while_its_file_does_not_change(
    state: Path, reads: list[str]
) -> None:
    """A process may connect thousands of times."""
    first = load_identity(str(state))
    reads.clear()
    assert all(load_identity(str(state)) is first for _ in range(5))
    assert reads == []
    other = load_identity(str(state.parent / "other"))
    os.replace(state.parent / "other" / DEVICE_FILE, state / DEVICE_FILE)
    assert load_identity(str(state)).id == other.id != first.id
    os.unlink(state / DEVICE_FILE)
    assert load_identity(str(state)).id not in (first.id, other.id)


def test_a_file_that_was_just_written_is_read_again(state: Path) -> None:
    """Two changes may bear the same time; only what is older is told apart by it."""
    first = load_identity(str(state))
    assert load_identity(str(state)) is not first
    assert load_identity(str(state)).id == first.id


def test_tokens_are_read_once_and_written_only_when_they_change(
    state: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[str] = []
    real = statefile.write_temporary
    monkeypatch.setattr(
        statefile,
        "write_temporary",
        lambda path, data: writes.append(path) or real(path, data),
    )
    store = TokenStore(str(state))
    store.put("ws://h", "d", "operator", "one", ("operator.read",))
    store.put("ws://h", "d", "operator", "one", ("operator.read",))
    assert len(writes) == 1
    store.get("ws://h", "d", "operator")
    reads.clear()
    assert [TokenStore(str(state)).get("ws://h", "d", "operator") for _ in range(3)] == ["one"] * 3
    assert reads == []


def test_no_more_files_are_remembered_than_allowed(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STATE_FILES", 3)
    for number in range(6):
        load_identity(str(tmp_path / str(number)))
    assert len(statefile._kept) == 3


def test_threads_that_wait_for_a_write_have_theirs_written_with_the_next(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of gateways, each brings a token with its first hello."""
    writes: list[str] = []
    going_on = threading.Event()
    inside = threading.Event()
    real = statefile.write_temporary

    def write(path: str, data: bytes) -> str:
        writes.append(path)
        inside.set()
        assert going_on.wait(10)
        return real(path, data)

    monkeypatch.setattr(statefile, "write_temporary", write)

    def put(number: int) -> None:
        TokenStore(str(state)).put(f"ws://{number}", "d", "operator", "t", ())

    threads = [threading.Thread(target=put, args=(number,)) for number in range(20)]
    threads[0].start()
    assert inside.wait(10)
    for thread in threads[1:]:
        thread.start()
    shared = statefile._shared[str(state / TOKENS_FILE)]
    eventually(lambda: len(shared.waiting) == 19, "they wait", 10)
    going_on.set()
    for thread in threads:
        thread.join(10)
    assert len(json.loads((state / TOKENS_FILE).read_text())) == 20
    assert len(writes) == 2


def test_a_directory_that_cannot_be_written_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    state = str(tmp_path / "file" / "state")
    threads = [
        threading.Thread(target=TokenStore(state).put, args=("ws://h", "d", "r", "t", ()))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
