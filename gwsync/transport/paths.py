"""Which way to a gateway worked last, for ``address_family="auto"``.

Kept in the state directory, one family per gateway URL, so that the next process
begins with it. Losing the file costs a quarter of a second, so its faults are silent.
"""

from __future__ import annotations

from ..config import Config
from ..identity import default_state_dir
from ..runtime import offload
from ..runtime.hub import HubThread
from ..statefile import StateFile

PATHS_FILE = "paths.json"


class PathMemory:
    """The memory for one gateway; used by a greenlet of ``hub``."""

    def __init__(self, config: Config, hub: HubThread) -> None:
        self._file = StateFile(config.state_dir or default_state_dir(), PATHS_FILE)
        self._url = config.url
        self._hub = hub
        self._known: str | None = None

    def recall(self) -> str | None:
        """The family that connected last, ``"ipv4"`` or ``"ipv6"``, if one did."""
        known = offload.run(self._hub, self._file.read).get(self._url)
        self._known = known if known in ("ipv4", "ipv6") else None
        return self._known

    def remember(self, family: str) -> None:
        """This one connected; written only when it differs from what was known."""
        if family != self._known:
            offload.run(self._hub, self._file.update, {self._url: family})
