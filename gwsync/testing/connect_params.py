"""The schema of ``connect``'s params: a closed object, with closed sets of clients."""

from __future__ import annotations

from . import schema

CLIENT_IDS = (
    "cli",
    "gateway-client",
    "test",
    "webchat",
    "webchat-ui",
    "openclaw-control-ui",
    "openclaw-browser-copilot",
    "openclaw-tui",
    "openclaw-macos",
    "openclaw-linux",
    "openclaw-ios",
    "openclaw-watchos",
    "openclaw-android",
    "node-host",
    "openclaw-worker",
    "fingerprint",
    "openclaw-probe",
)
CLIENT_MODES = ("webchat", "cli", "ui", "backend", "node", "worker", "probe", "test")
UI_IDS = ("webchat", "webchat-ui", "openclaw-control-ui")

_text, _name = schema.string(), schema.string(1)
CONNECT = schema.record(
    {
        "minProtocol": schema.integer(1),
        "maxProtocol": schema.integer(1),
        "client": schema.record(
            {
                "id": schema.one_of(*CLIENT_IDS),
                "version": _name,
                "platform": _name,
                "mode": schema.one_of(*CLIENT_MODES),
            },
            {
                **dict.fromkeys(
                    ("displayName", "instanceId", "deviceFamily", "modelIdentifier"), _name
                ),
                "timeZone": schema.string(1, 64),
                "buildId": schema.string(1, 96),
            },
        ),
    },
    {
        "role": _name,
        "scopes": schema.array(_name),
        "caps": schema.array(_name),
        "commands": schema.array(_name),
        "auth": schema.record(
            {},
            dict.fromkeys(
                (
                    "token",
                    "password",
                    "deviceToken",
                    "bootstrapToken",
                    "approvalRuntimeToken",
                    "agentRuntimeIdentityToken",
                ),
                _text,
            ),
        ),
        "device": schema.record(
            {
                **dict.fromkeys(("id", "publicKey", "signature"), _name),
                "signedAt": schema.integer(0),
                "nonce": _name,
            }
        ),
        **dict.fromkeys(("permissions", "computerUse", "workerRuns"), schema.anything),
        **dict.fromkeys(("pathEnv", "locale", "userAgent"), _text),
    },
)
