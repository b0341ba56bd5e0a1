"""How to test one's own code: the fixtures come with ``pip install 'gwsync[testing]'``."""

import my_service

from gwsync.testing import FaultProxy, LocalGateway


def test_the_board_counts_sessions(gateway: LocalGateway) -> None:
    gateway.on_method("sessions.list", lambda params: {"sessions": [{"key": "main"}] * 3})
    assert my_service.board() == "3 sessions"


def test_a_reminder_reaches_the_agent_once(gateway: LocalGateway) -> None:
    my_service.remind("stand up", key="today")
    my_service.remind("stand up", key="today")
    assert [call.params["message"] for call in gateway.executed] == ["stand up"]


def test_the_board_says_when_the_gateway_does_not_answer(fault_proxy: FaultProxy) -> None:
    assert my_service.board() == "0 sessions"
    fault_proxy.freeze()
    assert my_service.board(timeout=0.2) == "gateway unavailable: RequestTimeout"


def test_a_reminder_survives_a_lost_connection(
    gateway: LocalGateway, fault_proxy: FaultProxy
) -> None:
    my_service.remind("stand up", key="monday")
    fault_proxy.reset()
    my_service.remind("stand up", key="tuesday")
    assert [call.idempotency_key for call in gateway.executed] == ["monday", "tuesday"]
