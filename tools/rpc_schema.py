"""The official schema of the gateway's methods, and what it says of each.

Source: ``protocol.schema.json`` of the npm package ``@openclaw/gateway-protocol``. Its
``methods`` tell a name, a scope and a first release; that ``chat.send`` takes a
``ChatSendParams`` follows from the names alone, and the exceptions are listed here.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = "@openclaw/gateway-protocol"
RELEASE = "2026.9.1"
SUPPLEMENT = Path(__file__).with_name("rpc_supplement.json")
NPM_TIMEOUT_S = 300.0

# Definitions that a method's name does not lead to. None: the name leads to the wrong one.
PARAMS = {
    "agent.identity.get": "AgentIdentityParams",
    "config.openFile": "ConfigGetParams",
    "device.scopes.requestUpgrade": "ScopeUpgradeRequest",
    "device.scopes.waitUpgrade": "ScopeUpgradeWait",
    "node.pending.pull": "NodeListParams",
    "openclaw.setup.prepare.start": "SystemAgentSetupAuthStartParams",
    "session.members.listEvidence": "SessionMembersListParams",
    "sessions.subscribe": "SessionsListParams",
    "sessions.viewers.set": "SessionsViewerPresenceSetParams",
    "skills.curator.pin": "SkillsCuratorActionParams",
    "skills.curator.restore": "SkillsCuratorActionParams",
    "skills.curator.unpin": "SkillsCuratorActionParams",
    "skills.proposals.apply": "SkillsProposalDecisionParams",
    "skills.proposals.quarantine": "SkillsProposalActionParams",
    "skills.proposals.reject": "SkillsProposalDecisionParams",
    "tasks.dismiss": "TasksRecoveryParams",
    "tasks.retry": "TasksRecoveryParams",
}
RESULTS = {
    "agent.identity.get": "AgentIdentityResult",
    "config.schema": "ConfigSchemaResponse",
    "device.scopes.requestUpgrade": "ScopeUpgradeRegistration",
    "device.scopes.waitUpgrade": "ScopeUpgradeResult",
    "exec.approvals.get": "ExecApprovalsSnapshot",
    "exec.approvals.set": "ExecApprovalsSnapshot",
    "secrets.store.delete": "SecretsStoreMutationResult",
    "secrets.store.set": "SecretsStoreMutationResult",
    "session.members.add": "SessionMemberMutationResult",
    "session.members.listEvidence": "SessionMembersListEvidenceResult",
    "session.members.remove": "SessionMemberMutationResult",
    "sessions.github.confirm": "SessionGitHubPublicationResult",
    "sessions.github.publish": "SessionGitHubPublicationResult",
    "sessions.goal.clear": "SessionsGoalMutationResult",
    "sessions.goal.update": "SessionsGoalMutationResult",
    "sessions.groups.delete": "SessionsGroupsMutationResult",
    "sessions.groups.put": "SessionsGroupsMutationResult",
    "sessions.groups.rename": "SessionsGroupsMutationResult",
    "sessions.viewers.set": "SessionsViewerPresenceSetResult",
    "skills.curator.pin": "SkillsCuratorActionResult",
    "skills.curator.restore": "SkillsCuratorActionResult",
    "skills.curator.unpin": "SkillsCuratorActionResult",
    "skills.proposals.create": "SkillsProposalRecordResult",
    "skills.proposals.quarantine": "SkillsProposalRecordResult",
    "skills.proposals.reject": "SkillsProposalRecordResult",
    "skills.proposals.revise": "SkillsProposalRecordResult",
    "skills.proposals.update": "SkillsProposalRecordResult",
    "tasks.dismiss": "TasksRecoveryResult",
    "tasks.retry": "TasksRecoveryResult",
    "terminal.close": "TerminalAckResult",
    "terminal.input": "TerminalAckResult",
    "terminal.resize": "TerminalAckResult",
}
NO_PARAMS = frozenset({"terminal.list"})  # takes none, which the schema does not say


class SchemaError(Exception):
    """The schema cannot be had, or is not what this script was written for."""


def fetch(release: str = RELEASE) -> dict[str, Any]:
    """The official schema, through npm, which checks what it downloads."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["npm", "pack", "--loglevel=error", "--pack-destination", directory]
        done = subprocess.run(
            [*command, f"{PACKAGE}@{release}"],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=NPM_TIMEOUT_S,
            text=True,
            errors="replace",
            check=False,
        )
        archives = list(Path(directory).glob("*.tgz"))
        if done.returncode or not archives:
            raise SchemaError(f"npm pack {PACKAGE}@{release} failed:\n{done.stderr[-2000:]}")
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile("package/protocol.schema.json")
            if member is None:
                raise SchemaError(f"{PACKAGE}@{release} has no protocol.schema.json")
            loaded: dict[str, Any] = json.load(member)
            return loaded


@dataclass
class Params:
    """The parameters of a method by their wire names, each with its own schema."""

    fields: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    either: list[list[str]] = field(default_factory=list)  # one of these must be there as a whole
    open: bool = False  # others may be there as well


def candidates(method: str, suffix: str) -> Iterator[str]:
    """The names under which the definition of ``method`` may be found, the likeliest first."""
    words = [word[:1].upper() + word[1:] for word in re.split(r"[.\-]", method)]
    words = [word.replace("Github", "GitHub") for word in words]
    if words[0] == "Openclaw":  # its older name is still the definitions' own
        beginnings = [["SystemAgent", *words[1:]], ["System", *words[1:]]]
    else:
        beginnings = [words]
    for beginning in beginnings:
        for choice in itertools.product(*map(_numbers, beginning)):
            yield "".join(choice) + suffix


def _numbers(word: str) -> tuple[str, ...]:
    """A word, and if it may be a plural its singular."""
    if word.endswith("ies"):
        return word, f"{word[:-3]}y"
    if word.endswith("s") and not word.endswith("ss"):
        return word, word[:-1]
    return (word,)


def definition(
    definitions: dict[str, Any], method: str, suffix: str, exceptions: dict[str, str]
) -> str | None:
    """The name of the definition that tells of ``method``; None if there is none."""
    if method in exceptions:
        if exceptions[method] not in definitions:
            raise SchemaError(f"{method}: there is no {exceptions[method]}")
        return exceptions[method]
    return next((one for one in candidates(method, suffix) if one in definitions), None)


def params_of(schema: dict[str, Any]) -> Params:
    """What a ``*Params`` definition takes, over all the forms that it may have."""
    found = Params(dict(schema.get("properties", {})), sorted(schema.get("required", ())))
    found.open = schema.get("additionalProperties", True) is not False
    if "properties" not in schema and (forms := schema.get("anyOf") or schema.get("oneOf")):
        parts = [params_of(form) for form in forms]
        found.open = any(part.open for part in parts)
        found.required = sorted(set.intersection(*(set(part.required) for part in parts)))
        for part in parts:
            for name, inner in part.fields.items():
                _merge(found.fields, name, inner)
        found.either = _either([part.required for part in parts], found.required)
    elif forms := schema.get("oneOf") or schema.get("anyOf"):
        found.either = _either([form.get("required", ()) for form in forms], found.required)
    return found


def _either(required: list[Any], always: list[str]) -> list[list[str]]:
    """What each form requires beyond the others; nothing if one form requires no more."""
    more = [sorted(set(names) - set(always)) for names in required]
    unique = [names for index, names in enumerate(more) if names not in more[:index]]
    return unique if len(unique) > 1 and all(unique) else []


def _merge(fields: dict[str, Any], name: str, schema: Any) -> None:
    before = fields.get(name)
    if before is None:
        fields[name] = schema
    elif before != schema:
        forms = before["anyOf"] if set(before) == {"anyOf"} else [before]
        if schema not in forms:
            fields[name] = {"anyOf": [*forms, schema]}
