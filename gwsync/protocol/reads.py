"""The gateway's methods that only read, so that they may be sent again without being asked.

A request that was sent when the link broke may have run. Only the methods here are sent again
then: to run one twice changes no state, sends no message, subscribes to nothing, marks nothing as
seen, rotates nothing, calls no model and costs nothing, whatever its params. In doubt a method is
not here: its caller then gets ``ConnectionLost(outcome="maybe")`` and decides.

Source: the handlers of gateway release 2026.9.6, most of them read one by one, and
tests/real/test_reads_only.py, which calls what it can twice. Their scopes are no guide
(``users.github.disconnect`` wants operator.read, ``config.openFile`` and ``cron.scratch.get`` both
operator.admin), nor are their names: a comment tells where a name misleads.
"""

from __future__ import annotations

READS_ONLY: frozenset[str] = frozenset(
    {
        # -- the gateway itself
        "diagnostics.lanes",
        "diagnostics.stability",
        "gateway.identity.get",
        "gateway.restart.preflight",
        "gateway.suspend.status",
        "health",  # the gateway takes such a snapshot every minute anyway
        "hooks.status",
        "last-heartbeat",
        "logs.tail",  # a page after the caller's cursor; nobody is followed
        "status",
        "system-presence",
        "system.info",
        "update.runs.list",  # but update.status and update.runs.get tidy up abandoned runs
        # -- agents, and what they have to do with
        "agent.identity.get",
        "agent.wait",  # waits for a run that goes on without it; a run that ended is remembered
        "agents.files.get",
        "agents.files.list",
        "agents.list",
        "agents.workspace.get",
        "agents.workspace.list",
        "commands.list",
        "models.list",  # but models.authStatus may refresh tokens, models.probe asks the model
        "tools.catalog",
        "tools.effective",
        # -- approvals and questions: the waits decide nothing and take nothing from others
        "approval.get",
        "approval.history",
        "exec.approval.get",
        "exec.approval.grants.list",
        "exec.approval.list",
        "exec.approval.waitDecision",
        "openclaw.approval.list",
        "plugin.approval.list",
        "plugin.approval.waitDecision",
        "question.get",
        "question.list",
        "question.waitAnswer",
        # not exec.approvals.get: it writes the defaults where there is no file yet
        # -- artifacts, boards, documents
        "artifacts.download",
        "artifacts.get",
        "artifacts.list",
        "board.data.read",
        "board.get",
        "canvas.document.preview",  # gives back the caller's own document, with an address
        "canvas.document.view",
        "progressCard.get",
        "themes.get",
        "themes.list",
        "transcripts.export",  # answers the text; nothing is written
        "transcripts.get",
        "transcripts.list",
        "transcripts.status",
        # not board.widget.appView, mcp.app.*: they open views, and ask programs of others
        # -- audit
        "audit.activity.list",
        "audit.list",
        "audit.run.inspect",
        # -- channels and messages
        "channels.pairing.list",
        "channels.status",  # with probe, the channels are asked too, which nobody sees
        "chat.history",
        "chat.message.get",
        "chat.metadata",
        "conversations.list",
        "mentions.list",
        "openclaw.changes.list",
        "openclaw.chat.history",
        # not chat.startup: it may subscribe; not chat.toolTitles: a model makes them
        # -- configuration
        "config.get",
        "config.schema",
        "config.schema.lookup",
        "secrets.store.list",  # but secrets.resolve may run a program for each secret
        # -- control UI, which asks GitHub; not linkPreview, which visits whatever site
        "controlUi.githubDetail",
        "controlUi.githubPreview",
        "controlUi.sessionPreview",
        "controlUi.sessionPullRequests.checks",
        # -- cron
        "cron.get",
        "cron.list",
        "cron.runs",
        "cron.scratch.get",
        "cron.status",
        # -- devices, nodes, machines
        "computer.status",
        "device.pair.list",
        "device.pair.setupStatus",
        "environments.list",
        "environments.session.status",
        "environments.status",
        "fs.listDir",
        "node.describe",
        "node.list",
        "node.pair.list",
        "portal.list",
        "terminal.list",
        "worktrees.branches",
        "worktrees.list",
        # not device.scopes.waitUpgrade: how it ends gives scopes
        # -- memory; memory.search is not here: it calls a model, and so may doctor.memory.status
        "doctor.memory.dreamDiary",
        # -- plugins
        "plugins.catalog.browse",
        "plugins.catalog.categories",
        "plugins.catalog.get",
        "plugins.controlUi.list",
        "plugins.controlUi.status",
        "plugins.credentials.inspect",
        "plugins.inspect",
        "plugins.list",
        "plugins.search",
        "plugins.skills.read",
        "plugins.uiDescriptors",
        # -- projects
        "projects.list",
        "projects.searchRemote",
        # -- sessions
        "session.discussion.info",
        "session.members.list",
        "session.members.listEvidence",
        "session.suggestions.list",
        "sessions.branches.list",
        "sessions.catalog.list",
        "sessions.catalog.read",
        "sessions.companion.state",  # but sessions.companion.ask asks a model
        "sessions.describe",
        "sessions.diff",
        "sessions.files.get",
        "sessions.files.list",
        "sessions.get",
        "sessions.github.status",
        "sessions.groups.list",
        "sessions.list",
        "sessions.preview",
        "sessions.resolve",
        "sessions.search",
        "sessions.storage.status",
        "sessions.usage",
        "sessions.usage.logs",
        "sessions.usage.timeseries",
        "usage.cost",
        "usage.status",
        # -- skills
        "skills.bins",
        "skills.curator.status",
        "skills.detail",
        "skills.library.list",
        "skills.library.read",
        "skills.proposals.events.list",
        "skills.proposals.inspect",
        "skills.proposals.list",
        "skills.search",
        "skills.securityVerdicts",
        "skills.skillCard",
        "skills.status",
        "skills.workshop.read",
        # -- speech
        "talk.catalog",
        "talk.config",
        "talk.voice.get",
        "tts.personas",
        "tts.providers",
        "tts.status",
        "voicewake.get",
        "voicewake.routing.get",
        # -- tasks
        "taskSuggestions.list",
        "tasks.get",
        "tasks.history",
        "tasks.list",
        # -- users; what is about their GitHub accounts may refresh a token
        "users.list",
        "users.listAuthLinks",
        "users.listChannelIdentities",
        "users.listModelAccounts",
        "users.mentionable",
        "users.prefs.get",
        # -- web; not web.login.wait, which starts the channel; not wizard.status, which forgets a
        # finished wizard; not push.web.vapidPublicKey, which makes the key
        "webSearch.status",
    }
)
