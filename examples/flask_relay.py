"""A Flask service that takes those who signed in to where only it can reach: /dev/ws/...

    export UPSTREAM=https://box.tailnet.ts.net GWSYNC_PROXY=socks5h://127.0.0.1:1055
    export PASSWORD=... SECRET_KEY=...
    gunicorn --chdir examples --worker-class gevent flask_relay:app

HTTP and WebSockets: ``/dev/ws/some/path?query`` is ``/some/path?query`` over there. WebSockets
need gevent, as above or by ``python examples/flask_relay.py`` (gevent.pywsgi, port 8000); to
other kinds of workers they are 501, and HTTP works all the same. ``--once`` asks itself, and ends.
"""

import hmac
import os
import secrets
import sys
from typing import Any

from flask import Flask, redirect, request, session
from werkzeug.wrappers import Response

import gwsync.relay

UPSTREAM = os.environ.get("UPSTREAM") or os.environ["GWSYNC_URL"]
PROXY = os.environ.get("GWSYNC_PROXY")
PASSWORD = os.environ.get("PASSWORD") or secrets.token_hex()
FORM = "<form method=post action=/login><input type=password name=password><button>Sign in</button>"

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY") or secrets.token_hex()
app.config.update(SESSION_COOKIE_SAMESITE="Strict")


@app.get("/")
def home() -> str:
    return "<a href=/dev/ws/>the box</a>" if "user" in session else FORM


@app.post("/login")
def login() -> Response | tuple[str, int]:
    if not hmac.compare_digest(request.form["password"].encode(), PASSWORD.encode()):
        return FORM, 403
    session["user"] = "owner"
    return redirect("/")


def signed_in(environ: dict[str, Any]) -> bool:
    """The relay stands before Flask, so no view and no ``before_request`` is asked: this is."""
    with app.request_context(environ):
        return "user" in session


app.wsgi_app = gwsync.relay.wsgi(  # type: ignore[method-assign]
    UPSTREAM, prefix="/dev/ws", proxy=PROXY, permit=signed_in, app=app.wsgi_app
)

if __name__ == "__main__":
    if "--once" in sys.argv:
        client = app.test_client()
        print("/dev/ws/healthz", client.get("/dev/ws/healthz").status)
        print("/login", client.post("/login", data={"password": PASSWORD}).status)
        print("/dev/ws/healthz", client.get("/dev/ws/healthz").json)
    else:
        from gevent.pywsgi import WSGIServer

        print("serving http://127.0.0.1:8000, the password is", PASSWORD)
        WSGIServer(("127.0.0.1", 8000), app).serve_forever()
