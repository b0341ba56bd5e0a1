"""What the relay says itself: errors, the way in, its status. Small, and without scripts."""

from __future__ import annotations

import json
from html import escape
from http import HTTPStatus

from .heads import Request
from .status import RelayStatus
from .upstream import Failure

LOGIN = b"/.gwsync/login"
STATUS = b"/.gwsync/status"
FINDING_HEADER = "X-Gwsync-Proxy-Error"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:3rem auto;padding:0 1rem;"
    "color:#1c1c1e;background:#fff}code{background:#f2f2f4;padding:.1em .3em}"
    "table{border-collapse:collapse;width:100%;font-size:14px}td,th{text-align:left;"
    "padding:.3rem .6rem;border-bottom:1px solid #ddd;white-space:nowrap;"
    "vertical-align:top}"
    ".n{text-align:right}.w{white-space:normal;overflow-wrap:anywhere;min-width:11rem}"
    ".s{overflow-x:auto}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#1c1c1e}"
    "code{background:#333}td,th{border-color:#444}}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"


def answer(
    status: int,
    body: str,
    kind: str = "text/plain",
    *,
    close: bool,
    extra: tuple[tuple[str, str], ...] = (),
    head_only: bool = False,
) -> bytes:
    """A whole response of the relay's own."""
    data = body.encode()
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    headers = [
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Content-Length", str(len(data))),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", _POLICY),
        ("X-Content-Type-Options", "nosniff"),
        # no path goes along; with "no-referrer" the form below would come from Origin "null"
        ("Referrer-Policy", "strict-origin"),
        *extra,
        ("Connection", "close" if close else "keep-alive"),
    ]
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + (b"" if head_only else data)


def failure(found: Failure, request: Request | None, to: str, *, close: bool) -> bytes:
    """Why the upstream has no answer, for a person or for a program."""
    extra = ((FINDING_HEADER, found.finding),) if found.finding else ()
    title = "The relay cannot reach the service" if found.finding else "Not let through"
    lines = [found.message, found.hint]
    if to:
        lines.append(f"upstream: {to}")
    if found.finding:
        lines.append(f"finding: {found.finding}")
    head_only = request is not None and request.method == b"HEAD"
    if request is not None and b"text/html" in (request.value(b"accept") or b""):
        paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
        body, kind = _page(f"{found.status}: {title}", paragraphs), "text/html"
    else:
        body, kind = "\n".join([title, *(line for line in lines if line), ""]), "text/plain"
    return answer(found.status, body, kind, close=close, extra=extra, head_only=head_only)


def login(why: str, next_target: str, *, close: bool) -> bytes:
    """The form that asks for the token."""
    body = (
        f"<p>{escape(why)}</p><form method='post' action='{LOGIN.decode()}'>"
        f"<input type='hidden' name='next' value='{escape(next_target, quote=True)}'>"
        "<label>Token <input type='password' name='token' autocomplete='current-password'"
        " autofocus></label> <button>Go on</button></form>"
    )
    page = _page("This relay asks for its token", body)
    return answer(401, page, "text/html", close=close, extra=(("WWW-Authenticate", "GwsyncRelay"),))


def status(found: RelayStatus, *, as_json: bool, close: bool) -> bytes:
    """What goes through it now."""
    if as_json:
        data = {**vars(found), "connections": [vars(one) for one in found.connections]}
        return answer(200, json.dumps(data, indent=1) + "\n", "application/json", close=close)
    rows = "".join(
        f"<tr><td>{escape(one.client)}<td>{escape(one.kind)}<td class=w>{escape(one.what)}"
        f"<td class=w>{escape(one.to)}<td class=n>{one.status or '-'}"
        f"<td class=n>{one.seconds:.0f}<td class=n>{one.bytes_up:,}"
        f"<td class=n>{one.bytes_down:,}</tr>"
        for one in found.connections
    )
    body = (
        f"<p>{escape(found.url)}, up {found.seconds:.0f} s: {found.open} connections open, "
        f"{found.accepted} accepted, {found.requests} requests, {found.failed} failed, "
        f"{found.refused} refused, {found.bytes_up:,} bytes up, {found.bytes_down:,} down</p>"
        "<div class=s><table><tr><th>client<th>kind<th>what<th>to<th class=n>status"
        "<th class=n>seconds<th class=n>up<th class=n>down</tr>"
        f"{rows}</table></div>"
    )
    extra = (("Refresh", "2"),)
    return answer(200, _page("gwsync relay", body), "text/html", close=close, extra=extra)


def _page(title: str, body: str) -> str:
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1>{body}</html>\n"
    )
