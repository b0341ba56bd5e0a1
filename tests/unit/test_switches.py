"""GWSYNC_SLOW: which fast paths are off."""

from __future__ import annotations

import pytest

from gwsync import switches


@pytest.mark.parametrize(
    ("value", "off"),
    [
        (None, set()),
        ("", set()),
        ("scan", {"scan"}),
        (" scan, decode,", {"scan", "decode"}),
        ("all", set(switches.NAMES)),
    ],
)
def test_what_is_off(monkeypatch: pytest.MonkeyPatch, value: str | None, off: set[str]) -> None:
    if value is None:
        monkeypatch.delenv("GWSYNC_SLOW", raising=False)
    else:
        monkeypatch.setenv("GWSYNC_SLOW", value)
    assert {name for name in switches.NAMES if switches.slow(name)} == off


def test_a_name_that_is_unknown_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GWSYNC_SLOW", "scna,decode")
    monkeypatch.setattr(switches, "_warned", set())
    assert switches.slow("decode")
    assert not switches.slow("scan")
    assert caplog.text.count("scna") == 1
