"""The gateway that gwsync brings along, for the commands that start one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..testing import LocalGateway


def local_gateway(instead: str = "") -> type[LocalGateway]:
    """LocalGateway, whose needs are an extra. Raises ConfigError if they are missing."""
    try:
        from ..testing import LocalGateway
    except ImportError as error:
        if (error.name or "").startswith("gwsync"):
            raise  # a bug, not something to install
        raise ConfigError(
            "a gateway of its own needs more than gwsync alone",
            hint=f"pip install 'gwsync[testing]'{instead}",
        ) from None
    return LocalGateway
