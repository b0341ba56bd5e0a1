"""What a gateway must offer to be tested: the real one and the local one both do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


@dataclass(frozen=True)
class Facts:
    """What differs between gateway releases, beginning with what the newest one does."""

    protocol: int = 4
    boot_id: bool = True  # hello names the generation of the gateway's process
    auth_method: bool = True  # hello says how one got in
    announces_joins: bool = True  # a presence event when a visitor comes, too, not only after
    delta_text: bool = True  # chat deltas carry what is new, not the whole text again
    tells_of_sessions: bool = True  # sessions.subscribe and what it brings, sessions.create
    lists_approvals: bool = True  # exec.approval.list
    one_approval_call: bool = True  # approval.get and .resolve, which say how it ended
    pages_history: bool = True  # chat.history has offsets
    scope_refusal: str = "FORBIDDEN"  # the code of "missing scope"


class Target(Protocol):
    """A running gateway, seen from the tests."""

    @property
    def facts(self) -> Facts:
        """How its release differs from others."""

    @property
    def url(self) -> str:
        """Where clients connect to."""

    @property
    def token(self) -> str:
        """The shared secret, whatever it is called there: the password where it wants one."""

    @property
    def config_path(self) -> Path:
        """Its openclaw.json, by which clients on its machine find it."""

    def reload(self) -> None:
        """Begin an in-process restart: shutdown event, close 1012, back after a moment."""

    def edit_token(self, new: str) -> None:
        """Change the secret in its config file, as a person would; clients get 4001."""

    def die_and_return(self, new: str) -> None:
        """End without a word (SIGKILL), and start again with another secret in the file."""

    def join_test_client(self) -> AbstractContextManager[Any]:
        """Join as ``test/test``; coming and going emit ``presence`` events, see Facts."""

    def chat_message(self, words: str) -> str:
        """A chat message that this gateway's model answers with exactly ``words``."""


def visit(gateway: Target) -> None:
    """Somebody comes and goes: at least one ``presence`` event on every release."""
    with gateway.join_test_client():
        pass


def only_if(fact: str) -> Callable[[Test], Test]:
    """This case is for releases of which that fact is true; it is not made for others."""

    def mark(test: Test) -> Test:
        test.only_if = fact  # type: ignore[attr-defined]
        return test

    return mark
