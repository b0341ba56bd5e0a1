"""Names as the gateway spells them, and as Python does.

``sessionKey`` is ``session_key``, ``system-presence`` is ``system_presence``. What Python
or gwsync has taken gets an underscore at its end: ``import_``, and ``timeout_`` for a
parameter of the gateway's, since ``timeout`` is gwsync's own option of every call.
"""

from __future__ import annotations

import keyword
import re

OPTIONS = ("timeout", "final", "validate")  # of gwsync, on every method
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def python_name(wire: str, taken: tuple[str, ...] = ()) -> str:
    """``wire`` as a Python name."""
    name = _WORD_START.sub("_", wire).replace("-", "_").lower()
    return f"{name}_" if keyword.iskeyword(name) or name in taken else name


def parameter_name(wire: str) -> str:
    """A parameter's Python name."""
    return python_name(wire, OPTIONS)


def wire_name(name: str) -> str:
    """The wire's spelling of a parameter that no table knows: ``session_key``, ``timeout_``."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
