"""Write what ``gwsync.rpc`` knows of the gateway's methods: ``python -m tools.generate_rpc``.

From the official schema, which it gets from npm, and ``rpc_supplement.json``, which has what
a newer release was seen to have beyond it. Writes gwsync/api/rpc_table.json, which is read at
run time, and gwsync/api/rpc_types.pyi for editors and type checkers.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import rpc_methods, rpc_schema, rpc_stub

API = Path(__file__).resolve().parents[1] / "gwsync" / "api"


def generate(schema: dict[str, Any]) -> dict[Path, str]:
    """The text of each generated file."""
    table = rpc_methods.build(schema)
    return {
        API / "rpc_table.json": rpc_methods.as_text(table),
        API / "rpc_types.pyi": rpc_stub.stub(table),
    }


def differences(texts: dict[Path, str]) -> list[str]:
    """The names of the files that are not what they would be."""
    return [
        path.name
        for path, text in texts.items()
        if not path.exists() or path.read_text("utf-8") != text
    ]


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check only say which would change."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--schema", type=Path, help="protocol.schema.json, instead of npm's")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if files differ")
    given = parser.parse_args(arguments)
    if given.schema is not None:
        schema = json.loads(given.schema.read_text("utf-8"))
    else:
        schema = rpc_schema.fetch()
    texts = generate(schema)
    changed = differences(texts)
    for path, text in texts.items():
        if not given.check:
            path.write_text(text, "utf-8")
        state = "differs" if path.name in changed else "the same"
        print(f"{path.name}: {len(text.encode()):,} bytes, {state}")
    return 1 if given.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
