"""Types of parameters and answers, for annotations; see rpc_types.pyi, which is generated.

At run time a TypedDict is a dict, so that is what each name is here.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("Rpc", "Method"):
        from . import rpc

        return getattr(rpc, name)
    return dict[str, Any]
