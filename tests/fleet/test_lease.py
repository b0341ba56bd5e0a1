"""Who may send: with a real Redis, and clocks of the test's own."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.tools import Threads
from fleet.support import RedisServer
from gwsync.fleet.keys import Keys
from gwsync.fleet.lease import CAUTIOUS, TRUSTED, Contender, Lease
from gwsync.fleet.messages import Seal
from gwsync.fleet.store import RedisDown, Store

KEYS = Keys("test")
SEAL = Seal("a secret of sixteen or more", "test")
TTL_S = 60.0  # Redis does not end it by itself; the tests say when


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path)
    try:
        yield made.start()
    finally:
        made.stop()


class Side:
    """One contender with a clock."""

    def __init__(self, server: RedisServer, name: str) -> None:
        self.clock = Clock()
        self.store = Store(server.url)
        self.contender = Contender(self.store, KEYS, SEAL, name, TTL_S, self.clock)

    def acquire(self) -> Lease | None:
        return self.contender.acquire()

    def holds(self, lease: Lease) -> bool:
        return lease.holds(self.clock)


def got(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


def test_the_first_one_waits_for_one_whom_redis_forgot(server: RedisServer) -> None:
    one = Side(server, "one")
    lease = got(one.acquire())
    assert not one.holds(lease)
    lease.deadline += TTL_S  # as a renewal would
    one.clock.now += TTL_S * CAUTIOUS
    assert one.holds(lease)
    one.store.close()


def test_it_ends_by_its_own_clock_whatever_redis_says(server: RedisServer) -> None:
    one = Side(server, "one")
    lease = got(one.acquire())
    lease.send_from = one.clock.now
    one.clock.now += TTL_S * TRUSTED
    assert not one.holds(lease)
    assert not one.contender.renew(lease)
    one.clock.now -= 10
    assert not one.holds(lease)  # for good
    one.store.close()


def test_only_one_has_it_and_the_number_grows(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())
    first.send_from = one.clock.now
    assert two.acquire() is None
    assert one.contender.renew(first)
    one.contender.release(first)
    second = got(two.acquire())
    assert second.fence > first.fence
    assert two.holds(second)  # it was given back in peace: no wait
    assert not one.contender.renew(first)
    one.store.close()
    two.store.close()


def test_one_that_is_over_is_given_back_if_redis_has_it_still(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())
    first.send_from = one.clock.now
    assert two.acquire() is None
    one.clock.now += TTL_S * TRUSTED  # it came too late to renew it
    assert not one.contender.renew(first)
    one.contender.release(first)
    second = got(two.acquire())
    assert two.holds(second)
    one.contender.release(first)  # of what another one has it gives nothing back
    assert two.contender.renew(second)
    one.store.close()
    two.store.close()


def test_that_somebody_left_is_said_by_who_has_the_secret(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())
    first.send_from = one.clock.now
    assert two.acquire() is None
    with server.client() as client:
        client.delete(KEYS.lease)
        client.hset(KEYS.fence, mapping={"released": first.fence, "signature": b"x" * 32})
    second = got(two.acquire())
    assert not two.holds(second)
    assert one.holds(first)
    one.store.close()
    two.store.close()


def test_one_that_was_silent_is_waited_for_from_when_it_was_seen(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())
    assert two.acquire() is None
    two.clock.now += 5
    assert one.contender.renew(first)
    assert two.acquire() is None  # seen here
    seen = two.clock.now
    two.clock.now += TTL_S
    with server.client() as client:
        client.delete(KEYS.lease)  # as its end does
    second = got(two.acquire())
    assert second.send_from == pytest.approx(seen + TTL_S * CAUTIOUS)
    assert two.holds(second)
    one.store.close()
    two.store.close()


def test_what_the_former_one_was_given_is_known_to_who_saw_it_at_work(server: RedisServer) -> None:
    one, two, three = (Side(server, name) for name in ("one", "two", "three"))
    first = got(one.acquire())
    assert two.acquire() is three.acquire() is None
    assert one.contender.renew(first)
    assert two.acquire() is None
    with contextlib.suppress(RedisDown):
        three.store.interrupt()
        three.acquire()
    with server.client() as client:
        client.delete(KEYS.lease)
        assert got(two.acquire()).unbroken
        client.delete(KEYS.lease)
        again = Side(server, "three")
        assert not got(again.acquire()).unbroken
    for side in (one, two, three, again):
        side.store.close()


def test_a_redis_whose_clock_jumped_makes_no_second_sender(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())
    first.send_from = one.clock.now
    assert two.acquire() is None
    with server.client() as client:
        client.delete(KEYS.lease)  # long before its time
    second = got(two.acquire())
    assert one.holds(first)
    assert not two.holds(second)
    assert not one.contender.renew(first)
    assert not one.holds(first)
    one.store.close()
    two.store.close()


def test_who_never_sent_does_not_say_that_nobody_does(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())  # it waits for whoever was before
    assert two.acquire() is None
    one.contender.release(first)
    assert not two.holds(got(two.acquire()))
    one.store.close()
    two.store.close()


def test_a_lease_that_a_clock_set_back_keeps_ends_by_silence(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())
    assert two.acquire() is None
    two.clock.now += TTL_S / 2
    assert one.contender.renew(first)
    assert two.acquire() is None  # it is alive
    two.clock.now += TTL_S
    second = got(two.acquire())
    assert two.holds(second)
    one.clock.now += TTL_S
    assert not one.contender.renew(first)
    one.store.close()
    two.store.close()


def test_what_redis_forgot_is_put_back(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())
    server.restart()
    with pytest.raises(RedisDown):
        one.contender.renew(first)
    assert one.contender.renew(first)
    assert two.acquire() is None
    one.contender.release(first)
    assert got(two.acquire()).fence > first.fence
    one.store.close()
    two.store.close()


def test_forgotten_and_taken_by_another_that_one_waits(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())
    first.send_from = one.clock.now
    assert two.acquire() is None
    two.clock.now += 50
    server.restart()
    with pytest.raises(RedisDown):
        two.acquire()
    second = got(two.acquire())
    # The first may have been renewed a moment before Redis forgot.
    assert second.send_from >= two.clock.now + TTL_S * CAUTIOUS
    assert second.fence > first.fence
    one.store.drop()
    assert not one.contender.renew(first)
    one.store.close()
    two.store.close()


def test_a_redis_that_is_as_it_was_does_not_say_that_nobody_sends(server: RedisServer) -> None:
    one, two = Side(server, "one"), Side(server, "two")
    first = got(one.acquire())
    first.send_from = one.clock.now
    one.contender.release(first)
    with server.client() as admin:
        then = admin.hgetall(KEYS.fence)  # nobody had it then
        second = got(one.acquire())
        second.send_from = one.clock.now
        assert two.acquire() is None
        admin.delete(KEYS.lease, KEYS.fence)
        admin.hset(KEYS.fence, mapping=then)
        admin.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(RedisDown):
        two.acquire()
    third = got(two.acquire())
    assert one.holds(second)
    assert not two.holds(third)
    assert third.send_from >= two.clock.now + TTL_S * CAUTIOUS
    one.store.close()
    two.store.close()


def test_two_contend_a_thousand_times(server: RedisServer) -> None:
    sides = [Side(server, "one"), Side(server, "two")]
    fences: list[int] = []
    inside = [0]

    def contend(index: int) -> None:
        side = sides[index]
        for _ in range(500):
            lease = side.acquire()
            while lease is None:
                lease = side.acquire()
            inside[0] += 1
            assert inside[0] == 1
            fences.append(lease.fence)
            inside[0] -= 1
            side.contender.release(lease)

    done = Threads(2, contend).run()
    assert done.errors == []
    assert len(fences) == 1000
    assert fences == sorted(set(fences))
    for side in sides:
        side.store.close()


class Fate:
    """Does to Redis and to two sides whatever may happen; at most one of them may send."""

    def __init__(self, server: RedisServer, seed: int) -> None:
        self.server = server
        self.chance = random.Random(seed)
        self.sides = [Side(server, "one"), Side(server, "two")]
        self.leases: list[Lease | None] = [None, None]
        self.fences: list[int] = []
        self.admin = server.client()
        self.kept: list[dict[bytes, bytes]] = [{}]
        self.failed_at = 0.0

    def step(self) -> None:
        act = self.chance.choices(
            (self.look, self.pass_time, self.expire, self.keep, self.crash, self.leave),
            (50, 30, 6, 4, 4, 6),
        )[0]
        act()
        self.look_at_both()

    def look_at_both(self) -> None:
        sending = [
            lease.fence
            for side, lease in zip(self.sides, self.leases, strict=True)
            if lease is not None and side.holds(lease)
        ]
        assert len(sending) < 2

    def look(self) -> None:
        index = self.chance.randrange(2)
        side, lease = self.sides[index], self.leases[index]
        with contextlib.suppress(RedisDown):
            if lease is None:
                self.leases[index] = new = side.acquire()
                self.fences += [new.fence] if new is not None else []
            elif not side.contender.renew(lease):
                self.leases[index] = None

    def pass_time(self) -> None:
        seconds = self.chance.choice((0.1, 1, 5, 20)) * self.chance.random()
        for side, rate in zip(self.sides, (1.0, 1.004), strict=True):
            side.clock.now += seconds * rate

    def expire(self) -> None:
        """Its time is over, for Redis, whose clock may be any."""
        if self.may_fail():
            self.admin.delete(KEYS.lease)

    def may_fail(self) -> bool:
        """Redis does so once within a lease's time."""
        now = self.sides[0].clock.now
        if now < self.failed_at + TTL_S:
            return False
        self.failed_at = now
        return True

    def keep(self) -> None:
        """On disk, or at a replica."""
        self.kept.append(self.admin.hgetall(KEYS.fence))

    def crash(self) -> None:
        """Redis is back as it once was."""
        if not self.may_fail():
            return
        self.admin.client_kill_filter(_type="normal", skipme=True)
        self.admin.delete(KEYS.lease, KEYS.fence)
        back = self.chance.choice(self.kept[-2:])
        if back:
            self.admin.hset(KEYS.fence, mapping=back)

    def leave(self) -> None:
        index = self.chance.randrange(2)
        lease, self.leases[index] = self.leases[index], None
        if lease is not None:
            with contextlib.suppress(RedisDown):
                self.sides[index].contender.release(lease)


def test_a_thousand_takeovers_and_whatever_may_happen_to_redis(server: RedisServer) -> None:
    fate = Fate(server, 9)
    while len(fate.fences) < 1000:
        fate.step()
    for side in fate.sides:
        side.store.close()
