"""How many examples each fuzz test tries: a few in the ordinary suite, more by `tox -e fuzz`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def examples(few: int) -> settings:
    """As many as GWSYNC_FUZZ_EXAMPLES says, or few."""
    return settings(
        max_examples=int(os.environ.get("GWSYNC_FUZZ_EXAMPLES") or few),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
