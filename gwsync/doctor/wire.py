"""The bytes of doctor's own probes, and what bytes that come back are. No I/O."""

from __future__ import annotations

import ssl

SOCKS5_GREETING = b"\x05\x01\x00"
SOCKS5_ASK_LOGIN = b"\x05\x01\x02"
SOCKS4_CONNECT = b"\x04\x01\x00\x01\x00\x00\x00\x01\x00\x00"
# Port 1 of the proxy's own loopback: refused at once, wherever there is a live proxy.
SOCKS5_CONTROL = b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01"
_MAIL = (b"220 ", b"220-", b"+OK", b"* OK")


def http_connect(host: str, port: int) -> bytes:
    shown = f"[{host}]" if ":" in host else host
    return f"CONNECT {shown}:{port} HTTP/1.1\r\nHost: {shown}:{port}\r\n\r\n".encode()


def socks5_login(user: str, password: str) -> bytes:
    name, secret = user.encode(), password.encode()
    return bytes([1, len(name)]) + name + bytes([len(secret)]) + secret


def http_get(host: str) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def client_hello(name: str) -> bytes:
    """What a TLS client says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outgoing = ssl.MemoryBIO()
    hello = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def kind(data: bytes) -> str:
    """``socks5``, ``socks4``, ``http``, ``tls``, ``ssh``, ``banner``, ``bytes``; ``""``: none."""
    if not data:
        return ""
    if data[:1] == b"\x05" and len(data) >= 2 and data[1] in (0, 1, 2, 0xFF):
        return "socks5"
    if data[:1] == b"\x00" and len(data) >= 2 and 0x5A <= data[1] <= 0x5D:
        return "socks4"
    if data.startswith(b"HTTP/1."):
        return "http"
    if data[:2] in (b"\x16\x03", b"\x15\x03"):
        return "tls"
    if data.startswith(b"SSH-"):
        return "ssh"
    return "banner" if data.startswith(_MAIL) else "bytes"


def status(data: bytes) -> int | None:
    """The status of an HTTP answer."""
    words = data.split(b" ", 2)
    if data.startswith(b"HTTP/1.") and len(words) > 1 and words[1][:3].isdigit():
        return int(words[1][:3])
    return None


def header(data: bytes, name: str) -> str:
    """A header of an HTTP answer, or nothing."""
    for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.strip().lower() == name.lower().encode():
            return value.strip().decode("utf-8", "replace")[:200]
    return ""


def shown(data: bytes) -> str:
    """A few bytes as hex."""
    return data[:16].hex(" ") + (" ..." if len(data) > 16 else "")
