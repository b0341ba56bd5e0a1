"""What a gateway must offer to be tested: the real one and the local one both do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol


class Target(Protocol):
    """A running gateway, seen from the tests."""

    @property
    def url(self) -> str:
        """Where clients connect to."""

    @property
    def token(self) -> str:
        """The shared secret."""

    def reload(self) -> None:
        """Begin an in-process restart: shutdown event, close 1012, back after a moment."""

    def join_test_client(self) -> AbstractContextManager[Any]:
        """Join as ``test/test``; coming and going each emit a ``presence`` event."""

    def chat_message(self, words: str) -> str:
        """A chat message that this gateway's model answers with exactly ``words``."""
