"""Who answers that is no proxy of the kind asked for, by the first bytes it says."""

from __future__ import annotations

from .talk import Refused, dump

_BANNERS = (b"220", b"+OK", b"* OK", b"@RSYNCD")


def stranger(data: bytes, wanted: str) -> Refused:
    """``wanted``: SOCKS4, SOCKS5 or HTTP, which this is not."""
    if data[:2] in (b"\x16\x03", b"\x15\x03"):
        return Refused(
            "PROXY_IS_TLS",
            f"there is TLS on the proxy's port, not {wanted}",
            "https://host:port is for a proxy behind TLS; else it is the wrong port",
        )
    if data.startswith(b"HTTP/"):
        status = data[9:12].decode("latin-1")
        return Refused(
            "PROXY_IS_HTTP",
            f"a web server or HTTP proxy answers there (HTTP {status}), not {wanted}",
            "for an HTTP proxy write http://host:port; else it is the wrong port",
        )
    if data.startswith(b"SSH-"):
        return Refused(
            "PROXY_IS_SSH", "an SSH server answers there, not a proxy", "use the port of ssh -D"
        )
    if data.startswith(_BANNERS):
        return Refused(
            "PROXY_IS_BANNER", f"a server that is no proxy answers there: {dump(data[:60])}"
        )
    if wanted != "SOCKS4" and len(data) >= 2 and data[0] == 0 and 0x5A <= data[1] <= 0x5D:
        return Refused(
            "PROXY_IS_SOCKS4", "the proxy speaks SOCKS4 only", "write socks4a://host:port"
        )
    if wanted != "SOCKS5" and data[:1] == b"\x05":
        return Refused(
            "PROXY_IS_SOCKS5", "this is a SOCKS5 proxy", "write socks5h://host:port instead"
        )
    return Refused("PROXY_UNKNOWN_REPLY", f"what answers there is not {wanted}: {dump(data[:32])}")
