"""A run that one connection began is followed on another: the same cases for both of any kind.

``pair``: two connections, the second of which follows; ``said(words, delay)``: a message that
the model answers with exactly ``words``, by default LocalGateway's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import NamedTuple

import pytest

import gwsync

from .tools import InThread, elapsed_below, eventually


class Pair(NamedTuple):
    one: gwsync.Connection
    other: gwsync.Connection
    lists: bool = True  # its history tells of runs under way, and which run a message is of


FOUND_S = 60.0  # before it has begun, which takes a busy gateway a while, nothing tells of it
Said = Callable[[str, int], str]


@pytest.fixture
def said() -> Said:
    return lambda words, delay: f"delay={delay} echo:{words}"


@pytest.fixture
def session() -> str:
    return f"agent:main:follow-{uuid.uuid4()}"


def sentence(count: int) -> str:
    return " ".join(f"w{number}" for number in range(count))


def test_a_run_is_followed_from_its_beginning(pair: Pair, said: Said, session: str) -> None:
    words = sentence(100)
    run = pair.one.chat(said(words, 20), session)
    heard = [str(next(iter(run)))]
    followed = pair.other.follow(run.run_id, session, patience=FOUND_S)
    deltas = list(followed)
    assert "".join(deltas) == words
    assert not any(delta.replaces for delta in deltas)
    assert run.text() == words.strip()
    result = followed.result()
    assert (result.text, result.aborted, result.session) == (words, False, session)
    assert words.startswith(heard[0])
    eventually(lambda: not pair.other.status().subscriptions, "no subscription is left")


def test_its_session_is_found(pair: Pair, said: Said, session: str) -> None:
    words = sentence(80)
    run = pair.one.chat(said(words, 20), session)
    next(iter(run))
    followed = pair.other.follow(run.run_id, patience=FOUND_S)
    assert followed.session == session
    assert "".join(followed) == words
    if pair.lists:  # after its end, too
        again = pair.other.follow(run.run_id, patience=FOUND_S)
        assert (again.session, again.text()) == (session, words)


def test_one_that_has_ended_gives_its_result(pair: Pair, said: Said, session: str) -> None:
    words = sentence(30)
    run = pair.one.chat(said(words, 1), session)
    assert run.text() == words
    followed = pair.other.follow(run.run_id, session, patience=FOUND_S)
    assert followed.text() == words
    assert "".join(followed) == words
    assert followed.ended
    assert followed.run_id == run.run_id


def test_an_agents_run_is_followed(pair: Pair, said: Said, session: str) -> None:
    words = sentence(60)
    run = pair.one.agent(said(words, 20), session)
    followed = pair.other.follow(run.run_id, session, patience=FOUND_S)
    assert "".join(followed) == words == run.text()


def test_leaving_it_does_not_end_it(pair: Pair, said: Said, session: str) -> None:
    words = sentence(120)
    run = pair.one.chat(said(words, 40), session)
    with pair.other.follow(run.run_id, session, patience=FOUND_S) as followed:
        next(iter(followed))
    with pytest.raises(gwsync.ConnectionClosed):
        followed.text()
    with pytest.raises(gwsync.RequestTimeout, match=r"did not end in time$"):
        pair.other.follow(run.run_id, session, timeout=1).text()
    assert run.text() == words
    assert not run.aborted


def test_an_abort_is_seen(pair: Pair, said: Said, session: str) -> None:
    words = sentence(400)
    run = pair.one.chat(said(words, 20), session)
    followed = pair.other.follow(run.run_id, session, patience=FOUND_S)
    heard = str(next(iter(followed)))
    run.abort()
    assert followed.text() == run.text()
    assert followed.aborted
    assert run.aborted
    assert followed.text().startswith(heard)


def test_a_run_that_nobody_knows(pair: Pair, session: str) -> None:
    for where in (session, None):
        with elapsed_below(30, "the search"), pytest.raises(gwsync.RunError) as caught:
            pair.other.follow("nobody-s", where, patience=0.5)
        assert (caught.value.kind, caught.value.run_id) == ("not_found", "nobody-s")
        assert "nobody-s" in str(caught.value)
    eventually(lambda: not pair.other.status().subscriptions, "no subscription is left")


def test_one_that_is_about_to_begin_is_waited_for(pair: Pair, said: Said, session: str) -> None:
    words, key = sentence(50), str(uuid.uuid4())
    following = InThread(pair.other.follow, key, session, patience=30)
    eventually(lambda: pair.other.status().subscriptions, "it listens")
    run = pair.one.chat(said(words, 20), session, idempotency_key=key)
    followed = following.result()
    assert followed.text() == words == run.text()
