"""A piece of a service that uses the gateway; test_my_service.py is how to test it."""

from __future__ import annotations

import gwsync


def board(timeout: float = 5.0) -> str:
    """One line for the dashboard, whatever the gateway does."""
    try:
        sessions = gwsync.rpc.sessions.list(timeout=timeout)["sessions"]
    except gwsync.GatewayError as error:
        return f"gateway unavailable: {type(error).__name__}"
    return f"{len(sessions)} sessions"


def remind(text: str, key: str) -> str:
    """Tell the agent; with the same key it is told once, however often this is called."""
    params = {"sessionKey": "main", "message": text}
    answer = gwsync.request("chat.send", params, idempotency_key=key)
    return str(answer["runId"])


if __name__ == "__main__":
    print(board())
