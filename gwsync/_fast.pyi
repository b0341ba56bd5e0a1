from collections.abc import Callable
from typing import Any

def cut_texts(data: bytes, position: int, most: int, messages: list[bytes], /) -> int: ...
def take_ordinary(
    decode: Callable[[bytes], Any],
    kind: type[Any],
    noted: frozenset[str],
    refused: tuple[type[Exception], ...],
    frames: list[bytes],
    at: int,
    most: int,
    last: int | None,
    pushes: list[Any],
    /,
) -> tuple[int, int | None, Any]: ...
def is_flat(value: object, /) -> bool: ...
def frame(first: int, key: bytes, payload: bytes, /) -> bytes: ...
