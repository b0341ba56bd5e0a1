"""A proxy called localhost, which listens on one of the two loopbacks only.

/etc/hosts of a container often has but one of them for that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conformance.tools import elapsed_below
from loopback.support import Bench

from .servers import KINDS


@pytest.mark.parametrize("family", ["ipv4", "any"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("name", KINDS)
def test_a_proxy_on_one_loopback_is_found_by_the_name_of_both(
    name: str, host: str, family: str, bench: Bench, target: Callable[..., dict[str, Any]]
) -> None:
    with KINDS[name](host) as proxy:
        url = proxy.url(host="localhost")
        connection = bench.connection(proxy=url, address_family=family, **target("ws"))
        with elapsed_below(5, "finding it"):
            assert connection.request("health")["ok"] is True
        trace = connection.status().trace
        assert trace is not None
        # every address that was tried is told of
        assert proxy.address in " ".join(record.detail for record in trace.stages)
