from typing import Any


def document(figures: dict[str, Any]) -> dict[str, Any]:
    return {"rows": figures}


def write(whole: dict[str, Any]) -> None: ...
