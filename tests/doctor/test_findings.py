"""The table and the schema say the same, and every row can be told."""

from __future__ import annotations

import jsonschema
import pytest

from doctor.support import checked, schema
from gwsync.doctor.findings import TABLE
from gwsync.doctor.render import lines
from gwsync.doctor.report import Report, failed_before_any_io
from gwsync.values import StageRecord, Trace

FACTS = {"proxy": "127.0.0.1:1055", "host": "box", "target": "box:18789", "detail": "because"}


def test_the_schema_is_one_and_has_every_finding() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$defs"]["finding"]["enum"] == list(TABLE)


def test_each_name_once() -> None:
    assert [row.name for row in TABLE.values()] == list(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_row_is_told_in_80_columns(name: str) -> None:
    message, hint = TABLE[name].told(FACTS)
    assert "{" not in message + hint
    assert TABLE[name].told({})[0]  # also when nothing is known
    ok = name == "OK"
    record = StageRecord("tcp", 0.0, 0.1, ok, "x" * 200)
    report = Report(name, None if ok else "tcp", message, hint, Trace("ws://a", (record,)))
    shown = list(lines(checked(report)))
    assert max(map(len, shown)) <= 80
    assert any(name in line for line in shown)
    assert report.exit_code in ((0,) if ok else (2, 3, 4))


def test_settings_that_cannot_be_read() -> None:
    report = checked(failed_before_any_io("no ws://u:secret@h", "write ws://", {}))
    assert (report.finding, report.exit_code) == ("CONFIG_INVALID", 2)
    assert "secret" not in str(report.as_json())
    assert any("CONFIG_INVALID at config" in line for line in lines(report))
