"""Frames as they leave: right for every size, under a key that is random, by whatever masks."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gwsync import limits
from gwsync.transport import masking
from unit.test_import_cost import script
from unit.transport.test_link import parsed

SIZES = [0, 1, 3, 125, 126, 127, 4095, 4096, 65535, 65536, 300_001]
MASKS = {
    "websockets": masking._from_websockets,
    "wsaccel": masking._from_wsaccel,
    "numpy": lambda: masking.mask_by_numpy,
}


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    masking.fastest.cache_clear()
    yield
    masking.fastest.cache_clear()


def payload(size: int) -> bytes:
    return bytes(n * 7 % 256 for n in range(256)) * (size // 256) + b"x" * (size % 256)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_any_size_is_what_was_put_into_it(size: int, slow: bool) -> None:
    framer = masking.Framer(slow=slow)
    for opcode in (1, 2, 9):
        (frame,) = parsed(framer.frame(payload(size), opcode))
        assert (frame.fin, frame.opcode, frame.data) == (1, opcode, payload(size))


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("size", SIZES)
def test_every_mask_gives_the_same(name: str, size: int) -> None:
    mask = MASKS[name]()
    assert mask is not None
    masked = mask(payload(size), b"\x00\x81\xff\x10")
    assert type(masked) is bytes
    assert masked == masking.mask_by_int(payload(size), b"\x00\x81\xff\x10")


def test_every_frame_has_a_key_of_its_own_and_none_is_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = [masking.new_key() for _ in range(2000)]
    assert len(set(keys)) > 1990
    zeros = iter([bytes(8) + b"\x00\x00\x00\x01"])
    monkeypatch.setattr(masking, "_keys", iter(()))
    monkeypatch.setattr(masking.os, "urandom", lambda _: next(zeros))
    assert masking.new_key() == b"\x00\x00\x00\x01"


def test_a_forked_child_makes_keys_of_its_own() -> None:
    masking.new_key()
    masking._forked()
    assert list(masking._keys) == []


def test_without_any_of_them_integers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in ("websockets", "wsaccel"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    assert masking.fastest() is masking.mask_by_int


def test_one_that_masks_wrongly_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = (lambda: lambda data, key: data, lambda: None, lambda: 1 / 0)
    monkeypatch.setattr(masking, "_SOURCES", wrong)
    assert masking.fastest() is masking.mask_by_int


def test_nothing_is_imported_before_there_was_much_to_mask() -> None:
    """Neither with gwsync nor for some large frames: a script that sends one would wait for it."""
    said = script(
        "import sys, gwsync.transport.masking as m\n"
        "had = {n for n in ('websockets', 'numpy', 'wsaccel') if n in sys.modules}\n"
        "framer = m.Framer()\n"
        f"framer.frame(b'x' * {limits.LARGE_FRAME_BYTES}, 1)\n"
        "print(had & {'websockets', 'numpy'}, 'websockets' in sys.modules)\n"
    )
    assert said == "set() False"


def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "fastest", lambda: pytest.fail("it was asked for"))
    masking.Framer(slow=True).frame(b"x" * limits.MASK_IMPORT_BYTES, 1)
