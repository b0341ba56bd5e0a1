"""pytest fixtures for code that calls a gateway through gwsync: ``gateway``, ``fault_proxy``.

pytest finds them by itself where ``gwsync[testing]`` is installed. A module beside the package,
not in it: every run of pytest imports it, so it imports gwsync, and gevent with it, only for
the tests that use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gwsync.testing import FaultProxy, LocalGateway


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGateway]:
    """A gateway on loopback that ``gwsync.request`` and its like talk to.

    Starts a ``gwsync.testing.LocalGateway`` and, until the test ends, puts a connection to it
    (its token, operator.read and operator.write, a device identity of its own) in the place of
    the shared one with ``gwsync.testing.override``: for every thread of this process, and for
    nothing else. A ``gwsync.Connection`` of your own, and other processes, need its ``url``
    and ``token``. Then the connection is closed, the gateway stopped, and the shared
    connection is what it was.
    """
    testing = _testing("gateway")
    with (
        testing.LocalGateway() as made,
        testing.override(_config(made.url, made, tmp_path_factory)),
    ):
        yield made


@pytest.fixture
def fault_proxy(
    gateway: LocalGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultProxy]:
    """A ``gwsync.testing.FaultProxy`` before ``gateway``, on the shared connection's way to it.

    As ``gateway``, but through the proxy, which passes everything on until the test sets a
    fault. After a lost connection gwsync tries again within 0.1 s and every 0.1 s, so that
    tests need not wait.
    """
    testing = _testing("fault_proxy")
    with (
        testing.FaultProxy(gateway) as proxy,
        testing.override(_config(proxy.url, gateway, tmp_path_factory, again=0.1)),
    ):
        yield proxy


def _testing(fixture: str) -> Any:
    try:
        import gwsync.testing

        return gwsync.testing
    except ImportError as error:
        missing = str(error)
    # Outside of the handler: pytest would show what was handled there before this.
    pytest.fail(
        f"the fixture {fixture!r} needs more than gwsync itself: "
        f"pip install 'gwsync[testing]' ({missing})",
        pytrace=False,
    )


def _config(
    url: str, gateway: LocalGateway, directories: pytest.TempPathFactory, again: float | None = None
) -> Any:
    import gwsync

    policy = gwsync.ReconnectPolicy()
    if again is not None:
        policy = gwsync.ReconnectPolicy(first=again, spread=again, multiplier=0.0, max=0.0)
    state_dir = str(directories.mktemp("gwsync") / "state")
    return gwsync.Config(url=url, token=gateway.token, state_dir=state_dir, reconnect=policy)
