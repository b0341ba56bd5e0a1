"""The tables about single methods agree with each other and with what gateways advertise."""

from __future__ import annotations

from gwsync.protocol.methods import SUBSCRIBES


def test_what_subscribes_is_a_method_of_its_own() -> None:
    ends = {one.undone_by for one in SUBSCRIBES.values()} - {None}
    assert not ends & set(SUBSCRIBES)


def test_a_web_push_address_is_no_subscription_of_a_connection() -> None:
    assert "push.web.subscribe" not in SUBSCRIBES
    assert "terminal.attach" not in SUBSCRIBES  # it may be somebody else's by now
