"""The SOCKS5 dialogue without a socket: every branch, however the bytes arrive."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync.transport.deadline import Deadline
from gwsync.transport.socks5 import UDP_ASSOCIATE, converse, dialogue
from gwsync.transport.talk import Ended, Refused, Talk

OK_IPV4 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"
OK_IPV6 = b"\x05\x00\x00\x04" + bytes(16) + b"\x12\x34"
OK_NAME = b"\x05\x00\x00\x03\x03box\x12\x34"


class Scripted:
    """A socket whose other side has said everything already; it arrives in pieces."""

    def __init__(self, says: bytes, cuts: list[int] | None = None) -> None:
        self.left = says
        self.sent = b""
        self._cuts = list(cuts or [])

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def recv(self, size: int) -> bytes:
        if self._cuts:
            size = min(size, self._cuts.pop(0))
        data, self.left = self.left[:size], self.left[size:]
        return data


def talk(says: bytes, *secrets: str, cuts: list[int] | None = None) -> tuple[Talk, Scripted]:
    sock: Any = Scripted(says, cuts)
    return Talk(sock, Deadline(10), tuple(one.encode() for one in secrets)), sock


def refusal(says: bytes, user: str | None = None, password: str = "") -> Refused:
    conversation, _ = talk(says)
    steps = dialogue("box", 443, user, password, overhear=conversation.overhear)
    with pytest.raises(Refused) as caught:
        converse(conversation, steps)
    return caught.value


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("box.ts.net", b"\x03\x0abox.ts.net"),
        ("100.64.0.1", b"\x01\x64\x40\x00\x01"),
        ("fd7a::1", b"\x04\xfd\x7a" + bytes(13) + b"\x01"),
        ("a" * 63 + ".b", b"\x03\x41" + b"a" * 63 + b".b"),
        (".".join(["a" * 49] * 5), b"\x03\xf9" + b".".join([b"a" * 49] * 5)),
    ],
)
def test_what_is_asked_for(host: str, address: bytes) -> None:
    conversation, sock = talk(b"\x05\x00" + OK_IPV4)
    assert converse(conversation, dialogue(host, 443)) == "none"
    assert sock.sent == b"\x05\x01\x00" + b"\x05\x01\x00" + address + b"\x01\xbb"
    assert conversation.sent == sock.sent
    assert conversation.phase == "request"


@given(
    st.sampled_from([OK_IPV4, OK_IPV6, OK_NAME]),
    st.booleans(),
    st.binary(max_size=20),
    st.lists(st.integers(1, 6), max_size=40),
)
def test_however_the_answer_is_cut_what_follows_it_is_left(
    reply: bytes, password: bool, after: bytes, cuts: list[int]
) -> None:
    says = (b"\x05\x02\x01\x00" if password else b"\x05\x00") + reply
    conversation, sock = talk(says + after, cuts=cuts)
    steps = dialogue("box", 1, "user", "secret")
    assert converse(conversation, steps) == ("password" if password else "none")
    assert sock.left == after
    assert conversation.received == says


@given(st.integers(0, 14))
def test_an_end_at_any_byte(cut: int) -> None:
    says = b"\x05\x02\x01\x00" + OK_IPV4
    conversation, _ = talk(says[:cut])
    if cut == len(says):
        converse(conversation, dialogue("box", 1, "user", "secret"))
        return
    with pytest.raises(Ended):
        converse(conversation, dialogue("box", 1, "user", "secret"))
    phase = "greeting" if cut < 2 else "auth" if cut < 4 else "request"
    assert conversation.phase == phase


@given(st.binary(max_size=40), st.booleans())
def test_any_answer_at_all_ends_in_one_of_three_ways(says: bytes, password: bool) -> None:
    conversation, _ = talk(says)
    steps = dialogue("box", 1, "user" if password else None, "x", overhear=conversation.overhear)
    try:
        converse(conversation, steps)
    except (Refused, Ended):
        pass


@pytest.mark.parametrize(
    ("user", "password"),
    [("user", "secret"), ("user", ""), ("u" * 255, "p" * 255), ("\xe9", "\u20ac")],
)
def test_credentials_of_every_length(user: str, password: str) -> None:
    conversation, sock = talk(b"\x05\x02\x01\x00" + OK_IPV4, password)
    assert converse(conversation, dialogue("box", 1, user, password)) == "password"
    name, secret = user.encode(), password.encode()
    auth = bytes([1, len(name)]) + name + bytes([len(secret)]) + secret
    assert sock.sent.startswith(b"\x05\x02\x00\x02" + auth + b"\x05\x01\x00")
    assert conversation.sent.startswith(b"\x05\x02\x00\x02\x01***\x05\x01\x00")


def test_credentials_that_are_not_wanted_are_not_sent() -> None:
    conversation, sock = talk(b"\x05\x00" + OK_IPV4)
    assert converse(conversation, dialogue("box", 1, "user", "secret")) == "none"
    assert b"secret" not in sock.sent


def test_a_proxy_that_says_the_password_back() -> None:
    conversation, _ = talk(b"\x05\x02" + b"secret")
    with pytest.raises(Refused):
        converse(conversation, dialogue("box", 1, "user", "secret"))
    conversation, _ = talk(b"secret and more", "secret")
    with pytest.raises(Refused):
        converse(conversation, dialogue("box", 1, overhear=conversation.overhear))
    assert conversation.received == b"*** and more"


def test_udp_associate_needs_no_target() -> None:
    conversation, sock = talk(b"\x05\x00" + OK_IPV4)
    converse(conversation, dialogue("0.0.0.0", 0, command=UDP_ASSOCIATE))
    assert sock.sent == bytes.fromhex("050100 05030001000000000000")


@pytest.mark.parametrize(
    ("says", "finding"),
    [
        (b"\x05\xff", "PROXY_AUTH_REQUIRED"),
        (b"\x05\x02", "PROXY_AUTH_REQUIRED"),
        (b"\x05\x01", "PROXY_AUTH_METHOD_UNSUPPORTED"),
        (b"\x05\x80", "PROXY_AUTH_METHOD_UNSUPPORTED"),
        (b"\x05\x00\x05\x01", "TARGET_GENERAL_FAILURE"),
        (b"\x05\x00\x05\x02", "TARGET_DENIED_BY_PROXY"),
        (b"\x05\x00\x05\x03", "TARGET_NET_UNREACHABLE"),
        (b"\x05\x00\x05\x04", "TARGET_HOST_UNREACHABLE"),
        (b"\x05\x00\x05\x05", "TARGET_REFUSED"),
        (b"\x05\x00\x05\x06", "TARGET_TTL_EXPIRED"),
        (b"\x05\x00\x05\x07", "PROXY_NO_CONNECT_COMMAND"),
        (b"\x05\x00\x05\x08", "PROXY_ATYP_UNSUPPORTED"),
        (b"\x05\x00\x05\x09", "PROXY_UNKNOWN_REP"),
        (b"\x05\x00\x05\x00\x00\x07", "PROXY_UNKNOWN_REPLY"),
        (b"\x05\x00HTTP", "PROXY_UNKNOWN_REPLY"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "PROXY_IS_HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "PROXY_IS_TLS"),
        (b"\x16\x03\x01", "PROXY_IS_TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "PROXY_IS_SSH"),
        (b"220 mail.example ESMTP\r\n", "PROXY_IS_BANNER"),
        (b"+OK ready\r\n", "PROXY_IS_BANNER"),
        (b"\x00\x5b" + bytes(6), "PROXY_IS_SOCKS4"),
        (b"\x00\x00\x00\x00", "PROXY_UNKNOWN_REPLY"),
        (b"\x04", "PROXY_UNKNOWN_REPLY"),
    ],
)
def test_what_an_answer_means(says: bytes, finding: str) -> None:
    error = refusal(says)
    assert error.finding == finding
    assert error.message


@pytest.mark.parametrize(
    ("says", "finding"),
    [
        (b"\x05\xff", "PROXY_AUTH_METHOD_REJECTED"),
        (b"\x05\x01", "PROXY_AUTH_METHOD_UNSUPPORTED"),
        (b"\x05\x02\x01\x01", "PROXY_AUTH_WRONG"),
        (b"\x05\x02\x05\xff", "PROXY_AUTH_WRONG"),
    ],
)
def test_what_an_answer_to_credentials_means(says: bytes, finding: str) -> None:
    assert refusal(says, "user", "secret").finding == finding
