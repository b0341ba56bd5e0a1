"""A run that one worker began is followed from another, also while owners change."""

from __future__ import annotations

import pytest

import gwsync
from conformance import following
from conformance.following import *  # noqa: F403
from fleet.support import RENEWED_S, Fleet


@pytest.fixture
def pair(fleet: Fleet) -> following.Pair:
    fleet.owner_process()
    return following.Pair(fleet.worker(), fleet.worker())


def test_a_follower_hears_all_of_it_when_the_owner_is_killed(fleet: Fleet) -> None:
    first = fleet.owner_process(lease_s=RENEWED_S)
    first.expect("owner")
    fleet.owner_process(lease_s=RENEWED_S)
    words = following.sentence(200)
    run = fleet.worker().chat(f"delay=25 echo:{words}", "agent:main:killed")
    followed = fleet.worker().follow(run.run_id)
    heard = [str(next(iter(followed)))]
    first.kill()
    assert followed.text() == run.text() == words
    assert words.startswith(heard[0])


def test_a_worker_follows_what_somebody_else_began(fleet: Fleet) -> None:
    fleet.owner()
    words = following.sentence(60)
    with gwsync.Connection(fleet.target()) as direct:
        run = direct.chat(f"delay=20 echo:{words}", "agent:main:direct")
        assert "".join(fleet.worker().follow(run.run_id)) == words
        back = fleet.worker().chat(f"delay=20 echo:{words}", "agent:main:back")
        assert "".join(direct.follow(back.run_id)) == words
