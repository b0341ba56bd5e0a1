"""Everything that doctor can conclude, as a table: message, hint, and the class of each.

The names are stable: programs branch on them. ``{proxy}``, ``{host}``, ``{target}`` and
``{detail}`` are filled in with what was seen. What cannot be told apart from outside has
one finding, whose hint says so. The class decides the exit code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Class = Literal["ok", "config", "proxy", "path", "target", "gateway", "credentials"]

# The same as what every other command exits with.
EXIT_CODES: dict[Class, int] = {
    "ok": 0,
    "config": 2,
    "proxy": 3,
    "path": 3,
    "target": 3,
    "gateway": 3,
    "credentials": 4,
}


@dataclass(frozen=True)
class Finding:
    """What doctor concluded; ``hint`` is what to do about it."""

    name: str
    kind: Class
    message: str
    hint: str = ""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.kind]

    def told(self, facts: Mapping[str, str]) -> tuple[str, str]:
        """Message and hint with ``facts`` in them."""
        known = defaultdict(str, facts)
        message, hint = self.message.format_map(known), self.hint.format_map(known)
        return message.rstrip(" :"), hint.strip()


_TAILSCALED = "tailscaled --tun=userspace-networking --socks5-server=localhost:1055"
_ROWS: tuple[tuple[str, Class, str, str], ...] = (
    ("OK", "ok", "everything works", ""),
    # -- settings, before any I/O
    ("CONFIG_INVALID", "config", "a setting cannot be right: {detail}", ""),
    # -- the way there, without a proxy
    (
        "NAME_UNKNOWN", "path", "the name {host} cannot be resolved here{detail}",
        "check the spelling; for a Tailscale name check that MagicDNS is on",
    ),
    (
        "NO_IPV4_ADDRESS", "path", "the name {host} has no IPv4 address{detail}",
        "give --address-family any, or have the name get an A record",
    ),
    (
        "TCP_REFUSED", "path", "nothing listens at {target}: connection refused",
        "is the gateway running, and is the port right?",
    ),
    (
        "TCP_UNREACHABLE", "path", "there is no way to {target}: {detail}",
        "check the network, the VPN, and the address",
    ),
    (
        "TCP_TIMEOUT", "path", "no answer to a TCP connect at {target}",
        "a firewall, a VPN that is down, or a host that is off",
    ),
    (
        "TLS_CERT_INVALID", "path", "the certificate of {host} is refused: {detail}",
        "use the name that the certificate is for, or set GWSYNC_CA_FILE; "
        "a *.ts.net certificate is not for a 100.x address",
    ),
    (
        "TARGET_IS_TLS", "path", "{target} speaks TLS, and the URL says ws://",
        "write wss:// instead of ws://",
    ),
    (
        "TARGET_NOT_TLS", "path", "{target} speaks no TLS, and the URL says wss://",
        "write ws:// instead of wss://, or use the TLS port",
    ),
    (
        "TLS_FAILED", "path", "TLS with {host} failed: {detail}",
        "is this a TLS port, and does it offer TLS 1.2 or later?",
    ),
    # -- the gateway
    (
        "UPGRADE_REJECTED", "gateway", "no upgrade to WebSocket: {detail}",
        "400: a subprotocol is wanted; 403: Origin or an allow-list; 404: another path; "
        "503: it is starting",
    ),
    (
        "NOT_A_GATEWAY", "gateway", "{target} is no OpenClaw gateway: {detail}",
        "is this the gateway's port? A dead `ssh -L` tunnel looks like this too",
    ),
    (
        "AUTH_REJECTED", "credentials", "the gateway refuses the credentials: {detail}",
        "compare them with gateway.auth on the gateway's host",
    ),
    (
        "PAIRING_REQUIRED", "credentials", "this device must be approved first: {detail}",
        "on the gateway's host run: openclaw devices approve",
    ),
    (
        "SCOPES_MISSING", "credentials", "the gateway grants less than was asked for: {detail}",
        "approve the device with these scopes, or ask for fewer with GWSYNC_SCOPES",
    ),
    (
        "PROTOCOL_MISMATCH", "gateway", "no protocol version in common: {detail}",
        "update the older of the two",
    ),
    # -- the proxy itself
    ("PROXY_PORT_CLOSED", "proxy", "nothing listens at {proxy}", f"start it: {_TAILSCALED}"),
    (
        "PROXY_WRONG_LOOPBACK", "proxy", "{proxy} is closed; the proxy listens at {detail}",
        "write {detail} explicitly; tailscaled binds 127.0.0.1 only",
    ),
    (
        "PROXY_UNREACHABLE", "proxy", "no answer to a TCP connect at {proxy}",
        "a firewall, a VPC, a host that is down; on loopback: its backlog is full",
    ),
    (
        "PROXY_NAME_UNKNOWN", "proxy", "the proxy's name cannot be resolved: {proxy}",
        "check the spelling, and the container's network",
    ),
    (
        "PROXY_SILENT", "proxy", "{proxy} accepts TCP but answers nothing",
        "it is starting, stopped or starved: look at the process, and at its log",
    ),
    (
        "PROXY_CLOSES_AT_ONCE", "proxy", "{proxy} closes every connection",
        "an allow-list, a dead `ssh -L` target, or a backend that crashes at once",
    ),
    (
        "PROXY_IS_HTTP", "proxy", "{proxy} is a web server, not a proxy",
        "another port; is this the gateway itself?",
    ),
    (
        "PROXY_IS_HTTP_CONNECT", "proxy", "{proxy} speaks HTTP CONNECT, not SOCKS",
        "write http:// instead of socks5h://",
    ),
    (
        "PROXY_IS_TLS", "proxy", "{proxy} speaks TLS on this port",
        "an https:// proxy, or another port",
    ),
    (
        "PROXY_IS_SSH", "proxy", "{proxy} is an SSH server",
        "use the port of its -D option: ssh -D 1080",
    ),
    (
        "PROXY_IS_BANNER", "proxy", "{proxy} greets by itself, as a mail server does: {detail}",
        "another port",
    ),
    ("PROXY_IS_SOCKS4", "proxy", "{proxy} speaks SOCKS4 only", "write socks4a://"),
    ("PROXY_IS_SOCKS5", "proxy", "{proxy} is a SOCKS5 proxy", "write socks5h://"),
    (
        "PROXY_UNKNOWN_REPLY", "proxy", "{proxy} answers with unexpected bytes: {detail}",
        "is this a proxy at all?",
    ),
    (
        "PROXY_AUTH_REQUIRED", "proxy", "{proxy} wants a user and a password",
        "write them into the proxy's URL; tailscaled wants none: is it another proxy?",
    ),
    (
        "PROXY_AUTH_WRONG", "proxy", "{proxy} rejects the user or the password",
        "check both; Tailscale's server logs nothing about it",
    ),
    (
        "PROXY_AUTH_METHOD_REJECTED", "proxy", "{proxy} and gwsync share no way to log in",
        "it may want GSSAPI; gwsync has none, and user with password",
    ),
    (
        "PROXY_AUTH_METHOD_UNSUPPORTED", "proxy", "{proxy} chose a login that was not offered",
        "it may insist on GSSAPI, which gwsync does not speak",
    ),
    (
        "PROXY_NO_CONNECT_COMMAND", "proxy", "{proxy} knows no CONNECT (reply 07)",
        "its CONNECT command is switched off, or it is for UDP only",
    ),
    (
        "PROXY_ATYP_UNSUPPORTED", "proxy", "{proxy} takes no address of this type (reply 08)",
        "give the target by name, or by IPv4 address",
    ),
    (
        "PROXY_UNKNOWN_REP", "proxy", "{proxy} answers with an unknown code: {detail}",
        "its log may say more",
    ),
    (
        "PROXY_CLOSED_ON_CONNECT", "proxy", "{proxy} hung up when asked for {target}",
        "ssh -D does so for refused and for unknown names alike: see ssh's standard error",
    ),
    (
        "PROXY_STALLS_ON_CONNECT", "proxy", "{proxy} greets but never connects anything",
        "tailscaled is stuck, not logged in, or starved of CPU: restart it",
    ),
    (
        "PROXY_IS_WEB_SERVER", "proxy", "{proxy} answers as a web server would: {detail}",
        "another port",
    ),
    (
        "PROXY_OR_TARGET_SILENT", "proxy", "{proxy} says nothing, nor to anything else",
        "the proxy is stuck, or the target swallows packets: it cannot be told apart",
    ),
    # -- what the proxy says of the target
    (
        "TARGET_NAME_UNKNOWN_LOCALLY", "target",
        "{host} is resolved here, not at the proxy, and cannot be{detail}",
        'use socks5h://; this is what "could not read packet header" in Tailscale\'s log means',
    ),
    (
        "TARGET_GENERAL_FAILURE", "target",
        "{proxy} could not connect to {target}{detail}",
        "at once: refused, unknown name, or a peer not in the netmap; after 5 s: no answer",
    ),
    (
        "TARGET_DENIED_BY_PROXY", "target", "the rules of {proxy} forbid {target}",
        "squid and tinyproxy: ConnectPort and SSL_ports; dante: its rules",
    ),
    (
        "TARGET_NET_UNREACHABLE", "target", "{proxy} has no way to the network of {target}",
        "is the proxy's host in that network, and its VPN up?",
    ),
    (
        "TARGET_HOST_UNREACHABLE", "target", "{proxy} cannot reach the host of {target}",
        "the host is down, or the name is unknown there (dante says it so)",
    ),
    (
        "TARGET_REFUSED", "target", "{target} refuses the connection of {proxy}",
        "the service is down, or it is the wrong port on {host}",
    ),
    (
        "TARGET_TTL_EXPIRED", "target", "packets from {proxy} to {target} went in circles",
        "a routing loop on the proxy's side",
    ),
    (
        "TARGET_NO_ANSWER", "target", "{proxy} is alive; {target} gives it no answer",
        "the peer is offline, an ACL drops it, or a firewall; Tailscale says so after 5 s",
    ),
    (
        "TARGET_FAILED", "target", "{proxy} could not connect to {target}: {detail}",
        "refused or unknown: tinyproxy says the same of both",
    ),
    (
        "TARGET_TIMEOUT", "target", "{proxy} waited in vain for {target}: {detail}",
        "the host is off, or a firewall drops the packets",
    ),
    (
        "TUNNEL_CLOSED", "target", "the tunnel to {target} was up, and then closed without a word",
        "the wrong port, or a server that crashed",
    ),
    (
        "TUNNEL_SILENT", "target", "the tunnel to {target} is up, but nothing comes out of it",
        "the wrong port, or a server that hangs",
    ),
    # -- a fleet: its Redis, its owner
    (
        "NOT_A_REDIS", "path", "{target} is no Redis: {detail}", "is this the port of Redis?",
    ),
    (
        "REDIS_IS_TLS", "path", "{target} speaks TLS, and the URL says redis://",
        "write rediss:// instead of redis://",
    ),
    (
        "REDIS_NOT_TLS", "path", "{target} speaks no TLS, and the URL says rediss://",
        "write redis:// instead of rediss://, or use the TLS port",
    ),
    (
        "REDIS_SILENT", "path", "{target} does not answer as Redis does: {detail}",
        "is it stopped or overloaded, is something between, is it Redis at all?",
    ),
    (
        "REDIS_NOT_READY", "path", "Redis at {target} serves nobody now: {detail}",
        "it is loading, busy, failing over, full, or a replica: its log says more",
    ),
    (
        "REDIS_AUTH_REJECTED", "credentials", "Redis at {target} does not let us in: {detail}",
        "redis://USER:PASSWORD@HOST, or GWSYNC_REDIS_PASSWORD",
    ),
    (
        "REDIS_ACL", "credentials", "the ACL of Redis at {target} forbids too much: {detail}",
        "the README has an ACL that is enough, for the keys of fleet {fleet}",
    ),
    (
        "FLEET_UNKNOWN", "target", "no owner of a fleet {fleet} has ever been at {target}",
        "is the name spelled as the owner has it, and the database the same?",
    ),
    (
        "FLEET_NO_OWNER", "target", "fleet {fleet} has no owner now",
        "start one: gwsync owner --fleet {fleet} --redis URL --url ws://GATEWAY",
    ),
    (
        "FLEET_SECRET_WRONG", "credentials", "fleet {fleet} has another secret: {detail}",
        "GWSYNC_FLEET_SECRET must be the same for the owner and its workers",
    ),
    (
        "FLEET_GATEWAY_DOWN", "gateway", "the owner has no link to the gateway: {detail}",
        "run gwsync doctor with the gateway's url where the owner runs",
    ),
    (
        "FLEET_GATEWAY_REFUSES", "credentials", "the gateway refuses the owner: {detail}",
        "run gwsync doctor with the gateway's url where the owner runs",
    ),
    (
        "FLEET_NO_ANSWER", "target", "the owner is there and does not answer: {detail}",
        "its log says more; gwsync fleet status shows what waits",
    ),
)  # fmt: skip

TABLE: Mapping[str, Finding] = {row[0]: Finding(*row) for row in _ROWS}
