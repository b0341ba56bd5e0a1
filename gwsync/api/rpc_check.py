"""What can be said of a call before it is sent: its parameters, and its scope.

A table is of its day. A gateway that is newer than the table may take more, and want
less, than the table says: nothing is refused on its behalf, and what looks wrong is
logged once. Scopes are compared with gateways of the table's own month alone.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import ConfigError, GatewayError, MissingScope, RequestError
from ..values import Hello
from .rpc_names import OPTIONS, parameter_name
from .rpc_table import NODE, NONE, Info, release, table

MOST_NAMED = 12  # parameters in a hint; help() has them all
logger = logging.getLogger("gwsync.rpc")
_logged: set[str] = set()


def wrong_params(
    info: Info, params: Mapping[str, Any], unknown: Collection[str]
) -> ConfigError | None:
    """The error for parameters that the method does not know, or misses."""
    if unknown and not info.open:
        return _unknown(info, sorted(unknown))
    missing = [parameter_name(wire) for wire in info.required if wire not in params]
    if missing:
        several = "s" if len(missing) > 1 else ""
        text = f"{info.name} needs the parameter{several} {', '.join(missing)}"
        return ConfigError(text, hint=_takes(info))
    if info.either and not any(all(one in params for one in group) for group in info.either):
        groups = (" and ".join(map(parameter_name, group)) for group in info.either)
        return ConfigError(f"{info.name} needs {' or '.join(groups)}", hint=_takes(info))
    return None


def _unknown(info: Info, names: list[str]) -> ConfigError:
    several = "s" if len(names) > 1 else ""
    text = f"{info.name} has no parameter{several} {', '.join(names)}"
    known = (*info.parameters, *OPTIONS)
    near = [one for name in names for one in difflib.get_close_matches(name, known, n=2)]
    meant = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
    return ConfigError(text, hint=f"{meant}{_takes(info)}; validate=False sends it all the same")


def _takes(info: Info) -> str:
    names = info.parameters
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    shown = ", ".join(names[:MOST_NAMED])
    return f"it takes {shown}{more}" if names else "it takes no parameters"


def wrong_authority(info: Info, hello: Hello) -> RequestError | None:
    """The error for a method that this connection may not call."""
    if info.scope != NONE and NODE in (info.scope, hello.role):
        if hello.role is None or (info.scope == NODE) == (hello.role == NODE):
            return None
        error = RequestError(
            f"unauthorized role: {hello.role}",
            method=info.name,
            code="INVALID_REQUEST",
            hint="only a connection with role='node' may call it"
            if info.scope == NODE
            else "a node may not call it",
        )
    elif hello.scopes is None or covers(hello.scopes, info.scope):
        return None
    else:
        held = ", ".join(hello.scopes) or "no scopes at all"
        error = MissingScope(
            f"missing scope: {info.scope}",
            method=info.name,
            code="FORBIDDEN",
            hint=f"not sent: this connection has {held}; ask for it: scopes=(..., {info.scope!r})",
        )
        error.missing, error.required = info.scope, (info.scope,)
    error.outcome = "not_sent"
    return error


def covers(held: Collection[str], needed: str) -> bool:
    """Whether the scopes ``held`` include what ``needed`` stands for."""
    if needed == NONE or needed in held or "operator.admin" in held:
        return True
    return "operator.write" in held and needed in ("operator.read", "operator.talk")


def is_newer(hello: Hello) -> bool:
    """Whether the table may be too old for this gateway; also where nobody can tell."""
    theirs, ours = release(hello.server_version), release(table().release)
    return theirs is None or ours is None or theirs > ours


def knows_scopes(hello: Hello) -> bool:
    """Whether the table's scopes are those of this gateway."""
    theirs, ours = release(hello.server_version), release(table().release)
    return theirs is not None and ours is not None and theirs[:2] == ours[:2] and theirs <= ours


def log_once(error: GatewayError, version: str) -> None:
    """For a newer gateway: it decides, but a slip of the pen should not stay unseen."""
    if error.message not in _logged and len(_logged) < 1000:
        _logged.add(error.message)
        logger.warning(
            "%s, as far as this version of gwsync knows; the gateway (%s) is newer and decides",
            error.message,
            version,
        )
