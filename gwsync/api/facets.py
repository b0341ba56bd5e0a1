"""What a connection offers beyond requests and pushes: ``connection.http`` and its like.

Each is a view without state, imported when it is first asked for. ``Facets`` is the base of
Connection; the package has the same names, for whatever connection is the shared one then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ..config import Config

if TYPE_CHECKING:
    from ..session.supervisor import Supervisor
    from ..values import Hello
    from .approvals import Approvals
    from .caller import Caller, Timeout, Who
    from .http import Http
    from .rpc_types import Rpc
    from .sessions import Sessions

NAMES = ("approvals", "http", "rpc", "sessions")  # what facet() makes


def facet(name: str, who: Who) -> Any:
    """The view ``name`` of the connection that ``who()`` is at each of its calls."""
    if name == "http":
        from .http import Http

        return Http(lambda: who()._configured())
    if name == "rpc":
        from .rpc import Rpc

        return Rpc(who)
    if name == "sessions":
        from .sessions import Sessions

        return Sessions(who)
    if name == "approvals":
        from .approvals import Approvals

        return Approvals(who)
    raise AttributeError(name)


class Facets:
    """The views of one connection."""

    _supervisor: Supervisor | None

    def _configured(self) -> Config:
        raise NotImplementedError

    def _hello_now(self) -> Hello | None:
        """The hello of the link that is up, if one is."""
        supervisor = self._supervisor
        return supervisor.hello if supervisor and supervisor.state == "connected" else None

    def _said(self, timeout: Timeout) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
        """The scopes and capabilities that the gateway knows us by: a fleet's are its owner's,
        and None as long as that has not said them."""
        config = self._configured()
        if config.fleet is None:
            return config.scopes, config.caps
        scopes = self._itself().hello(timeout).scopes or ()
        supervisor = self._supervisor
        return scopes, supervisor.caps if supervisor is not None else None

    def _itself(self) -> Caller:
        return cast("Caller", self)

    @property
    def http(self) -> Http:
        """What the gateway answers over plain HTTP; needs no connection."""
        from .http import Http

        return Http(self._configured)

    @property
    def rpc(self) -> Rpc:
        """Every gateway method by its name: ``connection.rpc.sessions.list(limit=5)``."""
        view: Rpc = facet("rpc", self._itself)
        return view

    @property
    def sessions(self) -> Sessions:
        """The gateway's sessions: list, watch, history, create, patch, reset, delete."""
        view: Sessions = facet("sessions", self._itself)
        return view

    @property
    def approvals(self) -> Approvals:
        """What agents wait for a person to allow: pending, watch, resolve."""
        view: Approvals = facet("approvals", self._itself)
        return view
