"""``gwsync.rpc``: every gateway method as a Python function, by attributes.

``rpc.chat.history(session_key="main")`` calls ``chat.history`` with ``sessionKey``.
Editors and type checkers read rpc_types.pyi, which is generated; what happens at run
time is here, out of the table that is generated with it.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from ..config import UNSET
from ..errors import ConfigError
from ..values import Hello
from . import rpc_check
from .caller import Caller, Timeout, Who
from .rpc_names import OPTIONS, parameter_name, wire_name
from .rpc_table import Info, table

__all__ = ["Info", "Method", "Namespace", "Rpc"]


class _Calls:
    """Whom to call, and with which options; shared by all that hangs below one Rpc."""

    __slots__ = ("caller", "final", "options", "seen", "timeout", "validate")

    def __init__(
        self,
        caller: Who,
        timeout: Timeout = UNSET,
        final: bool = False,
        validate: bool = True,
    ) -> None:
        self.caller = caller
        self.timeout, self.final, self.validate = timeout, final, validate
        # the newest hello, and which scopes were found to do under it
        self.seen: tuple[Hello | None, set[str]] = (None, set())

    def call(self, info: Info, given: dict[str, Any]) -> Any:
        timeout = given.pop("timeout", self.timeout)
        final = given.pop("final", self.final)
        validate = given.pop("validate", self.validate)
        params, unknown = _on_the_wire(info, given)
        caller = self.caller()
        if validate:
            self._check(caller, info, params, unknown, timeout)
        return caller.request(info.name, params, timeout=timeout, final=final)

    def _check(
        self,
        caller: Caller,
        info: Info,
        params: dict[str, Any],
        unknown: list[str],
        timeout: Timeout,
    ) -> None:
        error = rpc_check.wrong_params(info, params, unknown)
        if error is not None:
            hello = caller._hello_now() or caller.hello(timeout)
            if not rpc_check.is_newer(hello):
                raise error
            rpc_check.log_once(error, hello.server_version)
        now = caller._hello_now()
        before, enough = self.seen
        if now is None or (now is before and info.scope in enough):
            return
        if rpc_check.knows_scopes(now):
            refusal = rpc_check.wrong_authority(info, now)
            if refusal is not None:
                raise refusal
        self.seen = now, {info.scope} | (enough if now is before else set())


def _on_the_wire(info: Info, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Parameters by their wire names, and which names the table does not know."""
    names, params, unknown = info.names, dict[str, Any](), []
    for name, value in given.items():
        wire = names.get(name)
        if wire is None:
            unknown.append(name)
            wire = name if name in info.params else wire_name(name)
        if wire in params:
            raise ConfigError(f"{info.name}: {wire} is given twice")
        params[wire] = value
    return params, unknown


class Namespace:
    """Some of the gateway's methods, below a common name."""

    _shown = "gwsync.rpc"

    def __init__(self, calls: _Calls, path: str) -> None:
        self._calls = calls
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # tools ask for many; also while this is being unpickled
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        part = table().members.get(self._path, {}).get(name)
        if part is None:
            raise AttributeError(self._no_such(name))
        path = f"{self._path}.{part}" if self._path else part
        info = table().info(path)
        made = Namespace(self._calls, path) if info is None else Method(self._calls, info)
        self.__dict__[name] = made
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"{self!r} is not to be changed")
        super().__setattr__(name, value)

    def _no_such(self, name: str) -> str:
        members = table().members
        near = []
        if not self._path:  # it may be the name of something below
            near = [
                ".".join((self._shown, *python_path(path), name))
                for path, names in members.items()
                if name in names
            ]
        close = difflib.get_close_matches(name, members.get(self._path, ()), n=3)
        near = [*near, *(f"{self._python_path()}.{one}" for one in close)][:3]
        meant = f"; did you mean {', '.join(near)}?" if near else ""
        return (
            f"{self._python_path()} has no {name!r}{meant} "
            "(gwsync.request calls any method by its name)"
        )

    def _python_path(self) -> str:
        return ".".join((self._shown, *python_path(self._path)))

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *table().members.get(self._path, ())})

    def __repr__(self) -> str:
        names = ", ".join(sorted(table().members.get(self._path, ())))
        return f"<{self._python_path()}: {names}>"

    def _repr_html_(self) -> str:
        from .rpc_show import namespace

        return namespace(self._python_path(), self._path)


class Method(Namespace):
    """One gateway method; call it with its parameters by their names.

    ``info`` has what is known of it. Beside the parameters every method takes gwsync's
    own options: ``timeout``, ``final`` and ``validate``.
    """

    def __init__(self, calls: _Calls, info: Info) -> None:
        super().__init__(calls, info.name)
        self._info = info

    def __call__(self, /, **params: Any) -> Any:
        return self._calls.call(self._info, params)

    @property
    def info(self) -> Info:
        """What is known of this method."""
        return self._info

    @property
    def scope(self) -> str:
        """The least scope that the gateway wants for it; ``node`` for what nodes call."""
        return self._info.scope

    @property
    def __name__(self) -> str:
        return python_path(self._path)[-1]

    @property
    def __signature__(self) -> inspect.Signature:
        info = self._info
        parameters = [
            inspect.Parameter(
                parameter_name(wire),
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if wire in info.required else _LEFT_OUT,
                annotation=_Annotation(info.params[wire]),
            )
            for wire in (*info.required, *(p for p in info.params if p not in info.required))
        ]
        for name in OPTIONS:
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_LEFT_OUT)
            )
        if info.open:
            parameters.append(inspect.Parameter("params", inspect.Parameter.VAR_KEYWORD))
        returns = _Annotation(info.returns or "Any")
        return inspect.Signature(parameters, return_annotation=returns)

    def _repr_html_(self) -> str:
        from .rpc_show import method

        return method(self._python_path(), self._info)

    def __repr__(self) -> str:
        names = ", ".join(self._info.parameters)
        return f"<{self._python_path()}({names}) {self._info.scope}>"


class Rpc(Namespace):
    """Every gateway method: ``rpc.sessions.list(limit=5)``.

    Names are Python's: ``sessionKey`` is ``session_key``, ``system-presence`` is
    ``system_presence``; dots are attributes. What is inside of a parameter stays as the
    gateway spells it. Before sending, parameters and scope are checked; see
    :meth:`with_options` for what turns that off.
    """

    def __init__(self, caller: Who) -> None:
        super().__init__(_Calls(caller), "")

    def with_options(
        self,
        *,
        timeout: Timeout = UNSET,
        final: bool = False,
        validate: bool = True,
    ) -> Rpc:
        """The same methods, called with these options unless a call says otherwise.

        ``timeout`` and ``final`` are those of ``request``. ``validate=False``: send whatever
        was given, and let the gateway judge it.
        """
        rpc = Rpc(self._calls.caller)
        rpc._calls = _Calls(self._calls.caller, timeout, final, validate)
        return rpc


def python_path(path: str) -> tuple[str, ...]:
    """The attributes that lead to a dotted wire name."""
    names, at = [], ""
    for part in path.split(".") if path else ():
        names.append(next(n for n, wire in table().members[at].items() if wire == part))
        at = f"{at}.{part}" if at else part
    return tuple(names)


class _LeftOut:
    def __repr__(self) -> str:
        return "..."


class _Annotation:
    """Shown as it is, not as a string."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class _Doc:
    """A class's own docstring, and for each method the one about it."""

    def __init__(self, own: str | None) -> None:
        self._own = own

    def __get__(self, method: Method | None, owner: type) -> str | None:
        return self._own if method is None else document(method.info)


def document(info: Info) -> str:
    """What ``help()`` shows of a method."""
    traits = ["; only reads"] if info.reads_only else []
    traits += ["; gwsync makes the idempotency_key"] if info.wants_key else []
    lines = [f"{info.name}: {info.scope}, since {info.since}{''.join(traits)}.", ""]
    lines.append("Parameters:" if info.params else "No parameters are known.")
    for wire in (*info.required, *(p for p in info.params if p not in info.required)):
        required = " (required)" if wire in info.required else ""
        lines.append(f"    {parameter_name(wire)}: {info.params[wire]}{required}")
    if info.either:
        groups = (" and ".join(map(parameter_name, group)) for group in info.either)
        lines.append(f"One of these is required: {'; '.join(groups)}.")
    if info.open:
        lines.append("Others than these are passed on unchecked.")
    lines.append(f"Answers {info.returns or 'what the gateway sends'}.")
    lines.append("Options of gwsync's own: timeout, final, validate.")
    return "\n".join(lines)


_LEFT_OUT = _LeftOut()
Method.__doc__ = _Doc(Method.__doc__)  # type: ignore[assignment]
