"""How long each part may take. Seconds, by default; ``--timeout`` scales them all.

Every case of the findings table is told within three seconds: the dial, then at most one
round of probes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..config import Config

DEFAULT_S = 3.0


@dataclass(frozen=True)
class Budget:
    """All of it in proportion to ``total``."""

    total: float = DEFAULT_S

    def of(self, seconds: float) -> float:
        return seconds * self.total / DEFAULT_S

    @property
    def dial(self) -> float:
        return self.of(2.1)

    @property
    def first_frame(self) -> float:
        return self.of(1.5)

    @property
    def probe(self) -> float:
        return self.of(0.6)

    @property
    def all_but_goodbye(self) -> float:
        return self.of(2.2)

    def applied(self, config: Config, *, proxied: bool) -> Config:
        """``config`` with these limits in place of its own."""
        stages = {
            # through a proxy this is about names that should not be looked up here
            "resolve": self.of(0.5 if proxied else 1.2),
            "tcp": self.of(0.6),
            "tls": self.of(1.0),
            "upgrade": self.of(1.0),
            # wrong credentials are answered up to 5 s late, on purpose
            "handshake": self.of(6.0),
        }
        if proxied:
            stages["proxy"] = self.of(1.3)
        timeouts = tuple(sorted(stages.items()))
        return replace(config, connect_timeout=self.of(9.0), stage_timeouts=timeouts)
