"""The guards that the suite must be able to tell from their absence.

Each is switched off by replacing one piece of text, which must occur exactly once;
``notices`` names the tests that must fail then. Without patches they must pass.
"""

from __future__ import annotations

from typing import NamedTuple


class Guard(NamedTuple):
    """``path`` is inside the package; ``old`` becomes ``new``."""

    name: str
    path: str
    old: str
    new: str
    notices: tuple[str, ...]


UNIT, LOOPBACK, HOSTS = "tests/unit/", "tests/loopback/", "tests/hosts/"
LINK = UNIT + "transport/test_link.py"
WRITING = UNIT + "transport/test_link_writing.py"
CONVERSATION = UNIT + "protocol/test_conversation.py"
PENDING = UNIT + "protocol/test_pending.py"
LIVENESS = UNIT + "protocol/test_liveness.py"
PROMISES = LOOPBACK + "test_promises.py"
DIAL = LOOPBACK + "test_dial.py"
PROXY = LOOPBACK + "test_proxy.py"
DIRECT = UNIT + "transport/test_link_direct.py"
ALIVE = LOOPBACK + "test_liveness.py"

DIALLING = (
    Guard(
        "the upgrade has one deadline, not one a recv",
        "transport/upgrade.py",
        "remaining = self._deadline.remaining()\n        if not remaining:",
        "remaining = 5.0\n        if not remaining:",
        (DIAL + "::test_silence_at_each_stage_is_a_timeout_that_names_it",),
    ),
    Guard(
        "a handshake ends in time",
        "protocol/conversation.py",
        "self._deadline = now + handshake_timeout_s",
        "self._deadline = now + 1e6",
        (CONVERSATION,),
    ),
    Guard(
        "a flood does not put the handshake's end off",
        "session/attempt.py",
        "if time.monotonic() >= due and step.accepted is None and step.error is None:",
        "if False:",
        (UNIT + "session/test_attempt.py",),
    ),
    Guard(
        "byte budget of the upgrade's answer",
        "transport/upgrade.py",
        "if self.received > limits.UPGRADE_MAX_BYTES:",
        "if False:",
        (DIAL + "::test_an_endless_answer_ends_at_its_budget",),
    ),
    Guard(
        "Sec-WebSocket-Accept is checked",
        "transport/answer.py",
        'if not hmac.compare_digest(fields.get(_ACCEPT, b""), expected):',
        "if False:",
        (UNIT + "transport/test_answer.py",),
    ),
    Guard(
        "no Origin is sent",
        "transport/upgrade.py",
        "suppress_origin=True",
        "suppress_origin=False",
        (DIAL + "::test_the_request_says_what_it_should_and_no_more",),
    ),
    Guard(
        "a pinned certificate is compared",
        "transport/tls.py",
        "if not hmac.compare_digest(found, pin):",
        "if False:",
        (LOOPBACK + "test_tls_pins.py::test_another_certificate_gets_not_one_byte",),
    ),
    Guard(
        "little is read before hello-ok",
        "session/attempt.py",
        "usual, link.max_message = link.max_message, limits.PREAUTH_MESSAGE_BYTES",
        "usual = link.max_message",
        (DIAL + "::test_a_message_over_the_limit_before_hello",),
    ),
)

READING = (
    Guard(
        "a reader yields every 5 ms",
        "transport/link.py",
        "gevent.sleep(limits.YIELD_SLEEP_S)\n                self._next_yield",
        "self._next_yield",
        (LINK + "::test_a_flooded_reader_lets_others_run",),
    ),
    Guard(
        "fragments of a message are counted",
        "transport/framing.py",
        "if self._frames > limits.MAX_FRAGMENTS:",
        "if False:",
        (UNIT + "transport/test_framing.py", LINK),
    ),
    Guard(
        "the sum of a message is bounded",
        "transport/framing.py",
        "if total > self.max_message:",
        "if False:",
        (UNIT + "transport/test_framing.py", LINK),
    ),
    Guard(
        "text must be UTF-8",
        "transport/framing.py",
        'raise self._broken("text that is not UTF-8", 1007) from None',
        "return",
        (UNIT + "transport/test_framing.py", LINK),
    ),
    Guard(
        "a flood of control frames ends the link",
        "transport/framing.py",
        "return self._seconds >= limits.CONTROL_FLOOD_S",
        "return False",
        (UNIT + "transport/test_framing.py",),
    ),
    Guard(
        "invalid frames are counted",
        "protocol/conversation.py",
        "if len(recent) > limits.INVALID_FRAMES_PER_MINUTE:",
        "if False:",
        (
            CONVERSATION,
            LOOPBACK + "test_reconnect.py::test_four_invalid_frames_in_a_minute_end_the_link",
        ),
    ),
    Guard(
        "each link counts its events anew",
        "protocol/conversation.py",
        "self._sequence = Sequence()",
        'self._sequence = globals().setdefault("_shared_sequence", Sequence())',
        (CONVERSATION,),
    ),
)

CALLING = (
    Guard(
        "NaN is refused",
        "protocol/frames.py",
        "if not math.isfinite(value):",
        "if False:",
        (UNIT + "protocol/test_frames.py",),
    ),
    Guard(
        "who gives up takes the right to send",
        "protocol/pending.py",
        "unsent = self.claim()",
        "unsent = not self.handed",
        (PENDING,),
    ),
    Guard(
        "the writer asks for the right to send",
        "transport/writer.py",
        "                if not parcel.claim():\n                    continue\n",
        "                parcel.claim()\n",
        (WRITING,),
    ),
    Guard(
        "a large message is asked about before its last byte",
        "transport/writer.py",
        "if parcel is not None and not parcel.claim():\n            self._break_off()",
        "if parcel is not None and not parcel.claim() and False:\n            self._break_off()",
        (WRITING,),
    ),
    Guard(
        "a call settles once",
        "protocol/pending.py",
        'return self._slot.setdefault("ending", ending) is ending',
        'self._slot["ending"] = ending\n        return True',
        (PENDING,),
    ),
    Guard(
        "what was handed over counts as sent",
        "session/calls.py",
        "unsent = not call.handed and (call.claim() or link.ended)",
        "unsent = True",
        (PROMISES + "::test_any_other_call_is_lost_at_once_and_never_repeated",),
    ),
    Guard(
        "only what can be repeated is sent again",
        "session/calls.py",
        "(mine and call.may_repeat(now))",
        "mine",
        (PROMISES + "::test_any_other_call_is_lost_at_once_and_never_repeated",),
    ),
    Guard(
        "a key is good for as long as the gateway knows it",
        "protocol/pending.py",
        "(self.keyed and now - self.first_sent_at < limits.KEY_LIFETIME_S)",
        "self.keyed",
        (PENDING,),
    ),
    Guard(
        "nothing is repeated to another gateway",
        "session/calls.py",
        "lambda call: call.handed)",
        "lambda call: False)",
        (PROMISES + "::test_nothing_is_repeated_to_another_gateway",),
    ),
    Guard(
        "at most 200 calls in flight",
        "session/calls.py",
        "while line and room > 0:",
        "while line:",
        (LOOPBACK + "test_calls.py::test_at_most_two_hundred_are_in_flight",),
    ),
    Guard(
        "calls given up keep their places for a while",
        "protocol/pending.py",
        "return len(self._calls) + len(forgotten)",
        "return len(self._calls)",
        (PENDING,),
    ),
    Guard(
        "what the gateway would refuse for its size is not sent",
        "session/exchange.py",
        "if size > max_payload:",
        "if False:",
        (UNIT + "session/test_exchange.py",),
    ),
)

LIVING = (
    Guard(
        "an idle link is pinged",
        "session/watch.py",
        "if step.ping:\n            self._link.ping()",
        "pass",
        (ALIVE + "::test_an_idle_link_is_asked_and_kept",),
    ),
    Guard(
        "a ping must be answered",
        "protocol/liveness.py",
        "return Verdict.UNANSWERED if now >= self._ping_due else Verdict.ALIVE",
        "return Verdict.ALIVE",
        (LIVENESS,),
    ),
    Guard(
        "two ticks of silence are enough",
        "protocol/liveness.py",
        "if now >= self._frame_at + self.limit_s:",
        "if False:",
        (LIVENESS,),
    ),
    Guard(
        "a gateway that takes nothing is left",
        "session/watch.py",
        "if stalled_s < self._conversation.silence_limit_s:",
        "if True:",
        (ALIVE + "::test_a_gateway_that_talks_and_takes_nothing_is_left",),
    ),
    Guard(
        "after a sleep of the machine the link is asked",
        "session/watch.py",
        "self._judge(self._conversation.woke(slept_s, now), now)",
        "self._judge(self._conversation.on_deadline(now), now)",
        (ALIVE + "::test_after_a_sleep_the_link_is_asked_at_once",),
    ),
    Guard(
        "waits are spread: the first",
        "config.py",
        "return float(wait_random(0, self.first)(state))",
        "return self.first",
        (UNIT + "session/test_policy.py",),
    ),
    Guard(
        "waits are spread: the later ones",
        "config.py",
        "later = wait_random_exponential(multiplier=self.multiplier, max=self.max)",
        "later = type(wait_random(0, 0))(self.max, self.max)",
        (UNIT + "session/test_policy.py",),
    ),
    Guard(
        "what breaks the protocol is tried three times",
        "session/policy.py",
        "return self._broken >= limits.PROTOCOL_TRIES",
        "return False",
        (UNIT + "session/test_policy.py",),
    ),
    Guard(
        "server-side subscriptions are made again",
        "session/life.py",
        "restore(opened, supervisor.remembered)",
        "pass",
        (
            PROMISES
            + "::test_server_side_subscriptions_are_made_again_before_the_link_is_announced",
        ),
    ),
    Guard(
        "a subscription's queue is bounded",
        "session/queues.py",
        "if self._count > self._max or self._bytes > limits.QUEUE_BYTES:",
        "if False:",
        (UNIT + "session/test_queues.py",),
    ),
    Guard(
        "the hub thread is stopped at exit",
        "runtime/hub.py",
        "    if hub is not None:\n        hub.stop()",
        "    del hub",
        (HOSTS + "test_exit.py::test_the_hub_stands_still_before_the_interpreter_goes",),
    ),
    Guard(
        "a wake-up whose caller has gone wakes nobody else",
        "runtime/waiters.py",
        "        if self._watcher is not None:\n            parked.switch()",
        "        parked.switch()",
        (HOSTS + "test_ctrl_c.py::test_ctrl_c_as_a_greenlet_is_woken_leaves_nothing_behind",),
    ),
    Guard(
        "a forked child lets go of what it inherited",
        "runtime/hub.py",
        "os.register_at_fork(after_in_child=_forked)",
        "pass",
        (HOSTS + "test_fork.py::test_a_forked_child_dials_anew_and_the_parents_link_is_intact",),
    ),
)

PROXYING = (
    Guard(
        "all steps of a proxy have one deadline",
        "transport/talk.py",
        "remaining = self.deadline.remaining()\n        if not remaining:",
        "remaining = 5.0\n        if not remaining:",
        (PROXY + "::test_stalled_at_any_byte_it_ends_in_time_and_the_hub_goes_on",),
    ),
    Guard(
        "CONNECT reads to the end of the head and no further",
        "transport/http_connect.py",
        'head += talk.some(1 if head.endswith((b"\\n", b"\\n\\r")) else 2)',
        "head += talk.some(64)",
        (PROXY + "::test_bytes_after_the_head_are_the_targets",),
    ),
    Guard(
        "byte budget of a proxy's head",
        "transport/http_connect.py",
        "if len(head) > limits.PROXY_HEAD_BYTES:",
        "if False:",
        (PROXY + "::test_an_answer_and_its_finding",),
    ),
    Guard(
        "credentials that a proxy repeats are masked",
        "transport/talk.py",
        'data = data.replace(secret, b"***")',
        "pass",
        (PROXY + "::test_a_proxy_that_repeats_the_credentials",),
    ),
    Guard(
        "credentials of SOCKS5 are not logged",
        "transport/socks5.py",
        'return Say(data, b"\\x01***")',
        "return Say(data)",
        (PROXY + "::test_the_bytes_are_in_the_log_and_the_credentials_are_not",),
    ),
    Guard(
        "credentials that are not wanted are not sent",
        "transport/socks5.py",
        "    if method == _PASSWORD:\n        yield",
        "    if user is not None:\n        yield",
        (UNIT + "transport/test_socks5.py::test_credentials_that_are_not_wanted_are_not_sent",),
    ),
    Guard(
        "the environment's proxy is not for loopback",
        "proxy_env.py",
        "if endpoint.is_loopback:",
        "if False:",
        (UNIT + "test_proxy_env.py",),
    ),
    Guard(
        "a local lookup of a private name is warned of",
        "transport/proxy.py",
        "if local and not target.is_loopback:",
        "if False:",
        (PROXY + "::test_local_lookup_of_a_private_name_is_warned_of",),
    ),
)

SPEED = (
    Guard(
        "a caller does not write past what waits",
        "transport/writer.py",
        "and not (self._outgoing or self._left or self._pings)",
        "and True",
        (DIRECT,),
    ),
    Guard(
        "a caller does not write on a link that ends",
        "transport/writer.py",
        "and not (self._ended or self._withdrawn or self.took_leave)",
        "and True",
        (DIRECT,),
    ),
    Guard(
        "what the kernel did not take of a caller's frame is sent",
        "transport/writer.py",
        "if size < len(frame):",
        "if False:",
        (DIRECT + "::test_what_the_kernel_does_not_take_is_left_to_the_hub",),
    ),
    Guard(
        "the hub writes nothing while a caller does",
        "transport/writer.py",
        'if self._turn.setdefault("writes", self) is not self:',
        "if False:",
        (DIRECT + "::test_the_hub_waits_for_a_caller_that_writes",),
    ),
    Guard(
        "a descriptor is not closed under a caller",
        "transport/writer.py",
        'if self._turn.setdefault("writes", self) is self:\n            self._sock.close()',
        "if True:\n            self._sock.close()",
        (DIRECT + "::test_a_descriptor_is_not_closed_under_a_caller",),
    ),
    Guard(
        "a hub is woken for each job",
        "runtime/inbox.py",
        "            self._async.send()\n        except ValueError:",
        "            pass\n        except ValueError:",
        (UNIT + "runtime/test_inbox.py", UNIT + "runtime/test_hub.py"),
    ),
    Guard(
        "a Ctrl-C in one job leaves the others to be run",
        "runtime/inbox.py",
        "            if jobs:",
        "            if False:",
        (UNIT + "runtime/test_inbox.py::test_a_ctrl_c_in_one_job_leaves_the_others_to_be_run",),
    ),
    Guard(
        "a Ctrl-C that hits a callback reaches the program",
        "runtime/dispatch.py",
        "        raise  # gevent hands it",
        "        pass  # gevent hands it",
        (HOSTS + "test_ctrl_c.py::test_ctrl_c_that_hits_a_callback_ends_the_program_too",),
    ),
    Guard(
        "a flood of jobs lets the loop have its turn",
        "runtime/inbox.py",
        "for _ in range(len(jobs)):",
        "while jobs:",
        (UNIT + "runtime/test_inbox.py::test_jobs_that_beget_jobs_do_not_keep_the_loop",),
    ),
    Guard(
        "events of other names are not queued",
        "session/routes.py",
        "wanted = self._by_name if marked else present & self._by_name.keys()",
        "wanted = self._by_name",
        (UNIT + "session/test_routes.py",),
    ),
    Guard(
        "an event leads back to no conversation",
        "protocol/conversation.py",
        "partial(_count_unreadable, self.counters)",
        "lambda: _count_unreadable(self.counters)",
        (UNIT + "protocol/test_whole.py",),
    ),
    Guard(
        "params are looked at with care if asked",
        "connection.py",
        'self._careful = switches.slow("check")',
        "self._careful = False",
        (UNIT + "session/test_exchange.py",),
    ),
    Guard(
        "an unreadable payload is counted",
        "protocol/conversation.py",
        'counters["unreadable"] += 1',
        "pass",
        (UNIT + "protocol/test_whole.py",),
    ),
)

RELAY = UNIT + "relay/"
RELAY_HTTP = LOOPBACK + "test_relay_http.py"
TWO_READINGS = RELAY + "test_heads.py::test_what_has_two_readings_is_refused"


def _gate(name: str, old: str, new: str, *tests: str) -> Guard:
    notices = tuple(f"{RELAY}test_gate.py::{test}" for test in tests)
    return Guard(f"relay: {name}", "relay/gate.py", old, new, notices)


def _head(name: str, old: str, new: str = "if False:") -> Guard:
    return Guard(f"relay: {name}", "relay/heads.py", old, new, (TWO_READINGS,))


RELAYING = (
    Guard(
        "a relay's early answer waits for the last bytes of its request",
        "relay/exchange.py",
        "            self._beside.join(limits.RELAY_LAST_BYTES_S)",
        "            pass",
        (
            LOOPBACK + "test_relay_checklist.py::"
            "test_an_answer_that_overtakes_the_end_of_its_request_keeps_the_connection",
        ),
    ),
    _gate(
        "a Host that is not its own is refused",
        'if not self._knows(request.host.decode("ascii").lower()):',
        "if False:",
        "test_hosts_of_a_relay_on_loopback",
    ),
    _gate(
        "an Origin that is not its own is refused",
        'or not self._ours(origins[0].decode("latin-1").lower(), request):',
        "or False:",
        "test_origins",
    ),
    _gate(
        "two Origins are refused",
        "if len(origins) > 1 or ",
        "if ",
        "test_two_origins_are_one_too_many",
    ),
    _gate(
        "a WebSocket without an Origin is refused",
        "if request.upgrades and not (self.allow_missing_origin or by_header):",
        "if False:",
        "test_no_origin",
    ),
    _gate(
        "what pages of other sites embed is refused",
        'if site == b"cross-site" and mode != b"navigate":',
        "if False:",
        "test_what_pages_of_other_sites_embed",
    ),
    _gate("the token is asked for", "if not self.admits(request):", "if False:", "test_the_token"),
    _gate(
        "the network needs a token",
        "if not is_loopback(self.listen_host) and self.token is None:",
        "if False:",
        "test_the_network_needs_a_token",
    ),
    Guard(
        "relay: each request goes through the gate",
        "relay/visit.py",
        "self._relay.gate.check(request)",
        "pass",
        (RELAY_HTTP + "::test_forged_origins", RELAY_HTTP + "::test_a_rebound_name"),
    ),
    Guard(
        "relay: each request of a mount goes through the gate",
        "relay/mount.py",
        "self._gate.check(request)",
        "pass",
        (LOOPBACK + "test_relay_wsgi.py::test_pages_of_other_sites",),
    ),
    Guard(
        "relay: a mount asks the service",
        "relay/mount.py",
        "if not permitted:",
        "if False:",
        (LOOPBACK + "test_relay_wsgi.py::test_nobody_gets_in_without_a_permit",),
    ),
    Guard(
        "relay: the gateway's token goes to the gateway only",
        "cli/relay.py",
        "inject_token=inject.get(prefix)",
        "inject_token=next(iter(inject.values()), None)",
        (LOOPBACK + "test_relay_command.py::test_each_upstream_has_its_own_secrets",),
    ),
    Guard(
        "relay: headers of a hop stay there",
        "relay/headers.py",
        "if (low := name.lower()) not in _HOP and",
        "if (low := name.lower()) and",
        (RELAY + "test_routes.py::test_what_belongs_to_the_hop_or_to_us_stays_here",),
    ),
    Guard(
        "relay: headers that Connection lists stay there",
        "relay/headers.py",
        " and low not in listed",
        "",
        (RELAY + "test_routes.py::test_what_belongs_to_the_hop_or_to_us_stays_here",),
    ),
    Guard(
        "relay: its token goes no further",
        "relay/headers.py",
        "or low in _NEVER_UP or",
        "or",
        (RELAY + "test_routes.py::test_what_belongs_to_the_hop_or_to_us_stays_here",),
    ),
    Guard(
        "relay: its cookie goes no further",
        "relay/headers.py",
        "value = _without_ours(value)",
        "pass",
        (RELAY + "test_routes.py::test_what_belongs_to_the_hop_or_to_us_stays_here",),
    ),
    Guard(
        "relay: a 101 proves that it heard this request",
        "relay/headers.py",
        'if response.values(b"sec-websocket-accept") != [proof]:',
        "if False:",
        (RELAY + "test_routes.py::test_an_unsound_101",),
    ),
    Guard(
        "relay: nobody climbs out of a route",
        "relay/routes.py",
        'if b".." in parts or b"." in parts:',
        "if False:",
        (RELAY + "test_routes.py::test_nobody_climbs_out_of_a_route",),
    ),
    _head("a length beside a transfer coding is refused", "if codings and lengths:"),
    _head("two lengths are refused", "if len(lengths) > 1 or (", "if ("),
    _head(
        "another transfer coding than chunked is refused",
        'if len(codings) > 1 or codings[0].lower() != b"chunked":',
    ),
    Guard(
        "relay: a head whose lines end in a bare LF is not waited for",
        "relay/heads.py",
        'if data.count(b"\\n") != data.count(b"\\r\\n"):',
        "if False:",
        (RELAY + "test_heads.py::test_a_head_of_bare_line_ends_is_not_waited_for",),
    ),
    _head("two Hosts are refused", "if len(hosts) != 1:", "if not hosts:"),
    Guard(
        "relay: a chunk's line ends in CR LF",
        "relay/bodies.py",
        'if not line.endswith(b"\\r\\n") or b"\\r" in line[:-2]:',
        "if False:",
        (RELAY + "test_bodies.py::test_bad_chunks",),
    ),
    Guard(
        "relay: a chunk is as long as it said",
        "relay/bodies.py",
        'elif self._step == "end":\n            if line:',
        'elif self._step == "end":\n            if False:',
        (RELAY + "test_bodies.py::test_bad_chunks",),
    ),
    Guard(
        "relay: a drip of bytes does not put the end of a head off",
        "relay/stream.py",
        "timer = gevent.Timeout.start_new(limit)",
        "timer = gevent.Timeout.start_new(limit + 1e6)",
        (RELAY_HTTP + "::test_a_slow_loris",),
    ),
    Guard(
        "relay: a client that leaves ends the upstream's work",
        "relay/exchange.py",
        "self._throw(ClientLeft())",
        "pass",
        (RELAY_HTTP + "::test_a_client_that_leaves_ends_the_upstreams_work",),
    ),
    Guard(
        "relay: what may have had its effect is not sent twice",
        "relay/exchange.py",
        "again = self.request.method in _SAFE and not self.request.has_body",
        "again = True",
        (RELAY_HTTP + "::test_what_may_have_had_its_effect_is_not_sent_twice",),
    ),
    Guard(
        "relay: so many connections and no more",
        "relay/server.py",
        "if len(self.visits) >= self._most:",
        "if False:",
        (RELAY_HTTP + "::test_too_many",),
    ),
)

FLEET = "tests/fleet/"
LEASE = FLEET + "test_lease.py"
FLEETS = (
    Guard(
        "fleet: what goes through Redis is signed",
        "fleet/messages.py",
        "if not hmac.compare_digest(self.sign(place, *rest, data), sig):",
        "if False:",
        (FLEET + "test_messages.py::test_a_changed_field_is_noticed",),
    ),
    Guard(
        "fleet: a call is accepted within a window",
        "fleet/messages.py",
        "return abs(now - at) <= WINDOW_S",
        "return True",
        (FLEET + "test_messages.py::test_a_message_is_timely_within_a_window",),
    ),
    Guard(
        "fleet: every write looks at the lease",
        "fleet/upstream.py",
        "link.writer.guard(self._lease.holds)",
        "pass",
        (FLEET + "test_upstream.py::test_every_write_looks_at_the_lease",),
    ),
    Guard(
        "fleet: a former owner's pushes are not written",
        "fleet/publisher.py",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end",
        "",
        (FLEET + "test_forgetting.py::test_a_former_owner_writes_no_push",),
    ),
    Guard(
        "fleet: what was not written for now is written again",
        "fleet/publisher.py",
        "if is_passing(result):",
        "if False:",
        (FLEET + "test_forgetting.py::test_a_redis_that_only_reads_for_a_while_loses_nothing",),
    ),
    Guard(
        "fleet: a Redis that was away says nothing of what was before",
        "fleet/lease.py",
        "self._beats = self._alive_at = None\n            self._at_work = False\n            raise",
        "raise",
        (LEASE + "::test_a_redis_that_is_as_it_was_does_not_say_that_nobody_sends",),
    ),
    Guard(
        "fleet: who never sent does not say that nobody does",
        "fleet/lease.py",
        "last = lease.fence if now >= lease.send_from else 0",
        "last = lease.fence",
        (LEASE + "::test_who_never_sent_does_not_say_that_nobody_does",),
    ),
    Guard(
        "fleet: a copy of a call is not performed again",
        "fleet/serving.py",
        "self._seen.admit(message.id, self._written_at(message))\n"
        "            if message.method == CONNECT:",
        "if message.method == CONNECT:",
        (FLEET + "test_calls.py::test_a_copy_of_a_call_is_not_performed_again",),
    ),
    Guard(
        "fleet: a copy of how things stood is not believed",
        "fleet/channel.py",
        "if view is not None and not is_timely(view.at, sleepless() + self.outbox.clock_ahead_s):",
        "if False:",
        (FLEET + "test_hostile.py::test_a_copy_of_how_things_stood_is_not_believed",),
    ),
    Guard(
        "fleet: the calls that wait for an owner are bounded",
        "fleet/outbox.py",
        "if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return {} end",
        "",
        (FLEET + "test_room.py::test_no_more_calls_than_there_is_room_for",),
    ),
    Guard(
        "fleet: a worker keeps no credentials of the gateway",
        "fleet_url.py",
        'for name in ("token", "password", "device_token", "proxy", "tls_fingerprint"):',
        "for name in ():",
        ("tests/unit/test_config.py::test_a_fleets_worker_keeps_no_credentials_of_the_gateway",),
    ),
    Guard(
        "fleet: doctor does not call a Redis that is silent something else",
        "doctor/redis_way.py",
        "if answer is None:",
        "if False:",
        ("tests/doctor/test_fleet_redis.py::test_a_redis_that_was_stopped",),
    ),
    Guard(
        "fleet: that somebody left is signed",
        "fleet/lease.py",
        "and self._is_signed(*released)",
        "",
        (FLEET + "test_lease.py::test_that_somebody_left_is_said_by_who_has_the_secret",),
    ),
    Guard(
        "fleet: what was forgotten is not performed again",
        "fleet/serving.py",
        "return self._seen.may_have_had(self._written_at(message))",
        "return False",
        (FLEET + "test_once.py::test_a_copy_is_not_performed_when_its_id_was_forgotten",),
    ),
    Guard(
        "fleet: what a lost owner was given is known to who saw it at work",
        "fleet/serving.py",
        "return inherited or not self._lease.unbroken",
        "return inherited",
        (FLEET + "test_once.py::test_what_nobody_saw_given_is_not_performed",),
    ),
    Guard(
        "fleet: a former owner's word comes too late",
        "fleet/line.py",
        "if anew and reply.fence < self.fence:",
        "if False:",
        (
            FLEET
            + "test_once.py::test_a_former_owners_word_that_it_did_not_take_a_call_comes_too_late",
        ),
    ),
    Guard(
        "fleet: a call is withdrawn as a whole",
        "fleet/outbox.py",
        "if #given > 0 then return 0 end",
        "",
        (FLEET + "test_outbox.py::test_a_call_in_pieces_is_withdrawn_as_a_whole_or_not_at_all",),
    ),
)

GUARDS = DIALLING + PROXYING + READING + CALLING + SPEED + LIVING + RELAYING + FLEETS
