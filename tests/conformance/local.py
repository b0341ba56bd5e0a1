"""LocalGateway as the cases want their gateway."""

from __future__ import annotations

import json
from pathlib import Path

from gwsync.testing import LocalGateway
from real.bare import BareClient

from .target import Facts


class LocalTarget:
    """See target.py."""

    facts = Facts()  # as the newest release is

    def __init__(self, local: LocalGateway, directory: Path, *, auth: str = "token") -> None:
        self._local = local
        self._auth = auth
        self.url = local.url
        self.token = local.password if auth == "password" else local.token
        self.config_path = directory / "openclaw.json"
        self._write_config()

    def reload(self) -> None:
        """As the real one restarts, in a tenth of the time."""
        self._local.restart(150, closing_for=0.1, down_for=0.2, starting_for=0.05, wait=False)

    def edit_token(self, new: str) -> None:
        self.token = new
        self._write_config()
        self._local.change_token(new)

    def die_and_return(self, new: str) -> None:
        self._local.drop()
        self._local.restart(down_for=None)
        self.edit_token(new)
        self._local.resume()

    def join_test_client(self) -> BareClient:
        return BareClient(self.url, self.token)

    def chat_message(self, words: str) -> str:
        return f"delay=100 echo:{words}"

    def wait_requests(self, method: str) -> None:
        """Until it has been asked this."""
        self._local.wait_requests(method, timeout=30)

    def _write_config(self) -> None:
        auth = {"mode": self._auth, "token": self.token}
        gateway = {"mode": "local", "port": self._local.port, "auth": auth}
        self.config_path.write_text(json.dumps({"gateway": gateway}))
