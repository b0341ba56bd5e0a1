"""``gwsync.rpc`` as users write it. Checked by mypy --strict, never run.

Each ``type: ignore`` is a mistake that mypy must find: where it does not, mypy says that the
comment is not needed, which is an error too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gwsync

if TYPE_CHECKING:
    from gwsync.api.rpc_types import AgentsListResult, Rpc

# -- what is right ------------------------------------------------------------------------------
listed: Any = gwsync.rpc.sessions.list(limit=5, archived="all")
history: Any = gwsync.rpc.chat.history(session_key="main", timeout=3.0)
sent: Any = gwsync.rpc.chat.send(session_key="main", message="hi", idempotency_key="k")
ran: Any = gwsync.rpc.agent(message="hi", timeout_=600, timeout=None, final=True)
waited: Any = gwsync.rpc.agent.wait(run_id="r")
anything: Any = gwsync.rpc.sessions.get(key="main", more=1)  # no definition: all names are taken
imported: Any = gwsync.rpc.skills.library.import_
agents: AgentsListResult = gwsync.rpc.agents.list()
first: str = agents["agents"][0]["id"]
scope: str = gwsync.rpc.chat.send.scope
needs: tuple[str, ...] = gwsync.rpc.chat.send.info.required
name: str = gwsync.rpc.chat.send.__name__
lenient: Rpc = gwsync.rpc.with_options(validate=False, timeout=60)
tree: Rpc = gwsync.Connection().rpc
presence: Any = tree.system_presence(validate=False)

# -- what is wrong ------------------------------------------------------------------------------
gwsync.rpc.sessions.list(limt=5)  # type: ignore[call-arg]
gwsync.rpc.sessions.list(limit="5")  # type: ignore[arg-type]
gwsync.rpc.chat.history()  # type: ignore[call-arg]
gwsync.rpc.chat.history("main")  # type: ignore[call-arg]
gwsync.rpc.models.list(view="nope")  # type: ignore[arg-type]
gwsync.rpc.no_such  # type: ignore[attr-defined]  # noqa: B018
gwsync.rpc.sessions()  # type: ignore[operator]
agents["no_such"]  # type: ignore[typeddict-item]
