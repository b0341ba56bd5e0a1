"""Every row of the fault matrix (FAULTS.md 2, rows 1 to 79) has a test named after it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
FAULTS = TESTS / "faults"

# Rows whose tests live elsewhere under names of their own.
PROXY = "loopback/test_proxy.py"
ELSEWHERE = {
    9: (PROXY, "test_nothing_listens"),
    10: (PROXY, "test_stalled_at_any_byte_it_ends_in_time_and_the_hub_goes_on"),
    11: (PROXY, "test_a_drip_has_one_deadline"),
    12: (PROXY, "test_wrong_credentials"),
    13: (PROXY, "test_an_answer_and_its_finding"),
    14: (PROXY, "test_the_proxys_own_words_are_quoted"),
    40: ("conformance/credentials.py", "test_a_wrong_token_in_the_environment_has_a_second_chance"),
    50: ("faults/test_time.py", "test_a_machine_that_slept_finds_its_dead_link_within_a_second"),
    78: ("hosts/test_ctrl_c.py", "test_ctrl_c_reaches_the_caller_and_the_connection_goes_on"),
}


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def rows_of_functions() -> set[int]:
    """``test_row_49_...`` and ``test_rows_73_to_75_...``."""
    rows: set[int] = set()
    for path in FAULTS.glob("test_*.py"):
        for name in functions(path):
            found = re.match(r"test_rows?_(\d+)(?:_to_(\d+))?_", name)
            if found:
                rows |= set(range(int(found[1]), int(found[2] or found[1]) + 1))
    return rows


def rows_of_cases() -> set[int]:
    """Names of the hostile gateway's cases: ``"22-silent-after-get"``."""
    rows: set[int] = set()
    for path in FAULTS.glob("cases*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = re.match(r"(\d\d)-[a-z]", node.value)
                if found:
                    rows.add(int(found[1]))
    return rows


def test_every_row_has_its_test() -> None:
    named = rows_of_functions() | rows_of_cases() | set(ELSEWHERE)
    assert sorted(set(range(1, 80)) - named) == []


def test_the_tests_that_live_elsewhere_are_there() -> None:
    for module, name in ELSEWHERE.values():
        assert name in functions(TESTS / module), (module, name)
