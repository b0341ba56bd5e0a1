"""A worker's own owner, where it may be its fleet's (``owner="elect"``)."""

from __future__ import annotations

from dataclasses import replace

from ..config import Config
from .owner import Owner


class Candidate:
    """From the first use on, whatever becomes of the worker's channel, until it is closed."""

    def __init__(self) -> None:
        self._owner: Owner | None = None

    def stand(self, config: Config) -> None:
        if config.owner is None or self._owner is not None:
            return
        gateway = replace(config, url=str(config.gateway_url), owner=None)
        self._owner = Owner(config, gateway)
        self._owner.begin()

    def resign(self) -> Owner | None:
        """Its link is ended and its lease given back, in a moment: see ``when_over``."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.leave()
        return owner
