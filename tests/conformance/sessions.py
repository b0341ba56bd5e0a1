"""``connection.sessions`` on every gateway: what is listed, told, paged and changed."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import gwsync
from gwsync.api.sessions import SessionChange, SessionWatch

from .fixtures import Open
from .target import Target, only_if
from .tools import eventually

ALL = ("operator.read", "operator.write", "operator.admin")
WAIT_S = 30.0


class Changes:
    """What a watch says, in a thread of its own; only of the sessions of this test."""

    def __init__(self, watch: SessionWatch, mark: str) -> None:
        self.watch = watch
        self.seen: list[SessionChange] = []
        self._mark = mark
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for change in self.watch:
            if self._mark in change.key:
                self.seen.append(change)

    def told(self, *kinds: str) -> list[SessionChange]:
        return [change for change in self.seen if change.kind in kinds]

    def rows(self) -> dict[str, str]:
        return {key: row.label for key, row in self.watch.rows.items() if self._mark in key}

    def end(self) -> None:
        self.watch.close()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@contextmanager
def watching(connection: gwsync.Connection, mark: str) -> Iterator[Changes]:
    changes = Changes(connection.sessions.watch(), mark)
    try:
        yield changes
    finally:
        changes.end()


def say(connection: gwsync.Connection, gateway: Target, key: str, words: str) -> None:
    """One turn of a conversation, to its end."""
    run = str(uuid.uuid4())
    with connection.pushes("chat") as pushes:
        connection.request(
            "chat.send",
            {"sessionKey": key, "message": gateway.chat_message(words), "idempotencyKey": run},
        )
        for push in pushes:
            if isinstance(push, gwsync.Event) and push.payload.get("runId") == run:
                state = push.payload["state"]
                assert state not in ("error", "aborted")
                if state == "final":
                    return


@only_if("tells_of_sessions")
def test_sessions_are_made_changed_listed_and_deleted(open_connection: Open) -> None:
    connection, mark = open_connection(scopes=ALL), uuid.uuid4().hex
    key = f"agent:main:{mark}"
    made = connection.sessions.create(key, label=f"one {mark}")
    assert (made.key, made.label) == (key, f"one {mark}")
    assert made.session_id
    patched = connection.sessions.patch(mark, label=f"two {mark}")
    assert patched.label == f"two {mark}"
    rows = connection.sessions.list(limit=1000)
    (row,) = [row for row in rows if row.key == key]
    assert (row.name, row.title, row.agent_id, row.active) == (mark, f"two {mark}", "main", False)
    assert row.updated_at > 1_600_000_000
    assert rows.total >= len(rows) > 0
    assert connection.sessions.patch(key, label=None).label == ""
    assert connection.sessions.reset(key).key == key
    found = connection.sessions.get(mark)
    assert found is not None
    assert found.key == key
    assert connection.sessions.delete(key) is True
    assert connection.sessions.delete(key) is False
    assert connection.sessions.get(key) is None


@only_if("tells_of_sessions")
def test_a_watch_tells_each_change_and_keeps_its_rows_true(open_connection: Open) -> None:
    writer, mark = open_connection(scopes=ALL), uuid.uuid4().hex
    first, second = f"agent:main:{mark}-1", f"agent:main:{mark}-2"
    writer.sessions.create(first, label=f"first {mark}")
    with watching(open_connection(), mark) as changes:
        eventually(lambda: changes.told("listed"), "the sessions there are", timeout=WAIT_S)
        writer.sessions.create(second, label=f"second {mark}")
        eventually(lambda: changes.told("added"), "a new session is told", timeout=WAIT_S)
        writer.sessions.patch(first, label=f"other {mark}")
        eventually(lambda: changes.told("changed"), "a change is told", timeout=WAIT_S)
        eventually(
            lambda: changes.rows() == {first: f"other {mark}", second: f"second {mark}"},
            "the rows are true",
            timeout=WAIT_S,
        )
        writer.sessions.delete(second)
        eventually(lambda: changes.told("removed"), "the end of one is told", timeout=WAIT_S)
        assert changes.rows() == {first: f"other {mark}"}
    writer.sessions.delete(first)
    kinds = [(change.kind, change.key) for change in changes.seen]
    assert kinds[0] == ("listed", first)
    assert kinds[-1] == ("removed", second)
    assert [key for kind, key in kinds if kind == "added"] == [second]
    repeated = [one for one in changes.seen if one.row == one.before and one.kind != "removed"]
    assert not repeated


@only_if("tells_of_sessions")
def test_a_watch_goes_on_after_a_restart(open_connection: Open, gateway: Target) -> None:
    watcher, mark = open_connection(scopes=ALL), uuid.uuid4().hex
    first, second = f"agent:main:{mark}-1", f"agent:main:{mark}-2"
    watcher.sessions.create(first, label=f"first {mark}")
    with watching(watcher, mark) as changes:
        eventually(lambda: changes.told("listed"), "the sessions there are", timeout=WAIT_S)
        before = watcher.hello().conn_id
        gateway.reload()
        eventually(lambda: watcher.hello(90).conn_id != before, "another connection", timeout=120)
        watcher.sessions.create(second, label=f"second {mark}", timeout=90)
        eventually(lambda: changes.told("added"), "told on the new link", timeout=WAIT_S)
        assert set(changes.rows()) == {first, second}
    assert [change.key for change in changes.told("listed", "added")] == [first, second]
    assert not changes.told("removed")


def test_history_is_paged_and_shows_each_message_once(
    open_connection: Open, gateway: Target
) -> None:
    connection, key = open_connection(), f"agent:main:history-{uuid.uuid4()}"
    for number in range(3):
        say(connection, gateway, key, f"answer {number}")
    eventually(  # the last of them is written down a moment after it was said
        lambda: len(list(connection.sessions.history(key))) == 6, "six messages", timeout=WAIT_S
    )
    whole = list(connection.sessions.history(key))
    assert [one.role for one in whole] == ["assistant", "user"] * 3
    assert [one.text for one in whole][::2] == ["answer 2", "answer 1", "answer 0"]
    assert whole[0].at >= whole[-1].at > 1_600_000_000
    assert list(connection.sessions.history(key, limit=2)) == whole[:2]
    if gateway.facts.pages_history:
        assert list(connection.sessions.history(key, page=2)) == whole
        pages = connection.sessions.history(key, page=2)
        assert next(pages) == whole[0]
        say(connection, gateway, key, "meanwhile")
        assert list(pages) == whole[1:]
    assert list(connection.sessions.history("agent:main:nobody-said-anything")) == []
