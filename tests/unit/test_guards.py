"""The mutation check (tests/mutation) still fits the package: drift shows here, in CI."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import gwsync
from mutation.guards import GUARDS, Guard

PACKAGE = Path(gwsync.__file__).parent
PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name.replace(" ", "-"))
def test_a_patch_applies_and_its_tests_exist(guard: Guard) -> None:
    text = (PACKAGE / guard.path).read_text(encoding="utf-8")
    assert text.count(guard.old) == 1, f"{guard.path}: {guard.old!r}"
    ast.parse(text.replace(guard.old, guard.new))
    assert guard.notices
    for target in guard.notices:
        path, _, name = target.partition("::")
        source = (PROJECT / path).read_text(encoding="utf-8")
        assert not name or re.search(rf"^def {name}\(", source, re.MULTILINE), target


def test_the_names_tell_them_apart() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)
    assert len(GUARDS) >= 12
